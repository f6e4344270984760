"""Fitting: trunk, trees and spend, the map that calibrates them, and the tuning of parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from catboost import CatBoostClassifier, Pool
from numpy.typing import NDArray

from jobs import calibration as logistic_map
from jobs.calibration import Calibration, NothingToLearnFrom
from jobs.client_scores import tuning
from jobs.client_scores.linear import Linear, apply_linear, fit_linear
from jobs.client_scores.slices import Slices
from jobs.client_scores.words import learn_words
from jobs.purchase_propensity import bgnbd
from jobs.purchase_propensity.bgnbd import BgNbd
from jobs.purchase_propensity.features import TRUNK, purchases, terms_of
from jobs.purchase_propensity.model import THREADS, Fitted, log_odds, raw_log_odds, terms_and_inputs
from jobs.purchase_propensity.spend import fit_spend

if TYPE_CHECKING:  # takes a second
    import optuna

SEED = 7

PARAMS: dict[str, float] = {
    "ridge": 0.04,  # of the trunk, per unit of information (rows x rate x (1 - rate))
    "depth": 3,
    "learning_rate": 0.03,
    "l2_leaf_reg": 30.0,
    "iterations": 300,
    "patience": 30,
}

Numbers = NDArray[np.float64]


def fit(
    slices: Slices,
    params: Mapping[str, float] | None = None,
    current: pd.DataFrame | None = None,
) -> Fitted:
    """Return the model fitted on ``slices``.

    Args:
        slices: what `slices.split` returns.
        params: default PARAMS.
        current: the clients that the model's own map is for (see ``calibrate``): the gate's rows,
            which are then scored just as the clients of any served day are.

    Raises:
        NothingToLearnFrom: if a slice has a single label.
    """
    uncalibrated = _fit_uncalibrated(_prepare(slices.train, slices.validation), params or PARAMS)
    share = None if current is None else forecast_share(slices, current)
    return replace(
        uncalibrated,
        calibration=calibrate(uncalibrated, slices.calibration, current, share),
        spend=fit_spend(uncalibrated.rhythm, slices),
    )


def calibrate(
    fitted: Fitted,
    rows: pd.DataFrame,
    current: pd.DataFrame | None = None,
    share: float | None = None,
) -> Calibration:
    """Return the calibration map of ``fitted`` from labelled rows it was not trained on.

    Slope and level are those of ``rows``. With ``current``, the clients to be scored, the level
    is set so that their mean is ``share``, which is forecast: a small logistic regression on
    labelled rows says how many of the clients as they are now will buy. Clients grow older and
    the shop changes between the newest labels and the day of scoring; the forecast follows, and
    the order of clients stays as tested.

    Args:
        fitted: model or baseline.
        rows: what `slices.labelled` returns; to serve as_of, of the datasets at the days that
            settle the level.
        current: dataset rows of the day to score, or a fair sample of them; labels are not read.
        share: what ``forecast_share`` says of ``current``; default: learned from ``rows`` alone.

    Raises:
        NothingToLearnFrom: if the labels have a single value.
    """
    known = rows[rows["bought"].notna()]
    labels = known["bought"].to_numpy(dtype=float)
    settled = logistic_map.fit(raw_log_odds(fitted, known), labels)
    if current is None:
        return settled
    scores = logistic_map.apply(settled, raw_log_odds(fitted, current))
    moved = logistic_map.shift(scores, _share_of(known, current) if share is None else share)
    return replace(settled, intercept=settled.intercept + moved)


def forecast_share(slices: Slices, current: pd.DataFrame) -> float:
    """Return the share of the clients ``current`` that will buy, learned from every slice."""
    rows = pd.concat([slices.train, slices.validation, slices.calibration], ignore_index=True)
    return _share_of(rows, current)


def _share_of(rows: pd.DataFrame, current: pd.DataFrame) -> float:
    """Return the share of ``current`` that will buy, from labelled rows of earlier days."""
    rhythm = fit_rhythm(rows)
    labels = rows["bought"].to_numpy(dtype=float)
    forecast = fit_linear(terms_of(rhythm, rows), labels, PARAMS["ridge"], TRUNK)
    chances = logistic_map.probability(apply_linear(forecast, terms_of(rhythm, current)))
    return float(chances.mean())


def tune(
    slices: Slices,
    trials: int,
    start: Mapping[str, float] | None = None,
    study: "optuna.Study | None" = None,
) -> dict[str, float]:
    """Return the parameters with the smallest log loss on the validation slice.

    The split is by time: trials fit on the older cutoffs and are judged on other clients at the
    newest. (Judged within the cutoffs they were fitted on, less careful parameters won, and lost
    on the days to come; docs/cdnow.md.)

    ``start`` (default PARAMS) is the first trial, and stays unless the best trial beats it by more
    than two standard errors of the paired difference: the best of several trials is lucky by more
    than one, and what is gained by luck is lost later. ``study`` keeps the trials; default none
    that lasts.
    """
    fixed = {**PARAMS, **(start or {})}
    older = slices.train[slices.train["cutoff_age"] > 0].reset_index(drop=True)
    train = older if older["bought"].nunique() > 1 else slices.train
    rows = _prepare(train, slices.validation)

    def losses(params: Mapping[str, float]) -> Numbers:
        fitted = _fit_uncalibrated(rows, params)
        return _losses(log_odds(fitted, rows.held_terms, rows.held_inputs), rows.held_labels)

    begun = losses(fixed)

    def gain(trial: "optuna.Trial") -> float:
        params = fixed | {
            "ridge": trial.suggest_float("ridge", 0.004, 0.4, log=True),
            "depth": trial.suggest_int("depth", 2, 6),
            "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
            "l2_leaf_reg": trial.suggest_float("l2_leaf_reg", 3, 100, log=True),
        }
        gained = begun - (begun if params == fixed else losses(params))
        error = gained.std() / np.sqrt(len(gained))
        trial.set_user_attr("is_sure", bool(gained.mean() > 2 * error))
        return float(gained.mean())

    tunable = ("ridge", "depth", "learning_rate", "l2_leaf_reg")
    found = study or tuning.study(None, "purchase_propensity")
    tuning.search(found, gain, trials, [{name: fixed[name] for name in tunable}])
    best: dict[str, float] = found.best_params
    return fixed | best if found.best_trial.user_attrs["is_sure"] else fixed


def fit_rhythm(rows: pd.DataFrame) -> BgNbd | None:
    """Return BG/NBD fitted on the buyers of the newest cutoff in ``rows``, None without any."""
    bought = rows[(rows["purchase_days"].fillna(0) > 0) & (rows["tenure_days"] > 0)]
    if "cutoff_age" in rows:
        bought = bought[bought["cutoff_age"] == bought["cutoff_age"].min()]
    return bgnbd.fit(*purchases(bought)) if len(bought) else None


@dataclass(frozen=True)
class _Prepared:
    """What does not depend on parameters, made once for all trials."""

    start: Fitted
    labels: Numbers
    terms: pd.DataFrame
    inputs: pd.DataFrame
    held_labels: Numbers
    held_terms: pd.DataFrame
    held_inputs: pd.DataFrame


def _prepare(train: pd.DataFrame, validation: pd.DataFrame) -> _Prepared:
    labels = _labels(train, "train")
    held_labels = _labels(validation, "validation")
    unfitted = Linear((), (), (), (), 0.0)
    rhythm, words = fit_rhythm(train), learn_words(train, "categories")
    start = Fitted("catboost", unfitted, rhythm, Calibration(), None, words)
    return _Prepared(
        start,
        labels,
        *terms_and_inputs(start, train),
        held_labels,
        *terms_and_inputs(start, validation),
    )


def _fit_uncalibrated(rows: _Prepared, params: Mapping[str, float]) -> Fitted:
    linear = fit_linear(rows.terms, rows.labels, params["ridge"], TRUNK)
    trees = CatBoostClassifier(
        iterations=int(params["iterations"]),
        depth=int(params["depth"]),
        learning_rate=params["learning_rate"],
        l2_leaf_reg=params["l2_leaf_reg"],
        early_stopping_rounds=int(params["patience"]),
        random_seed=SEED,
        thread_count=THREADS,
        allow_writing_files=False,
        verbose=False,
    )
    trees.fit(
        _pool(rows.inputs, rows.labels, linear, rows.terms),
        eval_set=_pool(rows.held_inputs, rows.held_labels, linear, rows.held_terms),
        use_best_model=True,
    )
    trunk = apply_linear(linear, rows.held_terms)
    trees.shrink(_fewest_trees(trees, rows.held_inputs, rows.held_labels, trunk))
    return replace(rows.start, linear=linear, trees=trees)


def _fewest_trees(
    trees: CatBoostClassifier, inputs: pd.DataFrame, labels: Numbers, trunk: Numbers
) -> int:
    """Return how many trees to keep: the fewest not surely worse than the best number.

    Surely means by more than one standard error of the paired difference (Breiman et al. 1984);
    the best number itself rests on the luck of a small slice.
    """
    matrix = inputs.to_numpy(dtype=np.float32)
    staged = trees.staged_predict(matrix, prediction_type="RawFormulaVal", thread_count=THREADS)
    losses = np.array([_losses(trunk + z, labels) for z in staged])
    excess = losses - losses[losses.mean(axis=1).argmin()]
    error = excess.std(axis=1) / np.sqrt(len(labels))
    return int(np.argmax(excess.mean(axis=1) <= error)) + 1


def _losses(z: Numbers, labels: Numbers) -> Numbers:
    """Return each row's log loss."""
    losses: Numbers = np.logaddexp(0, z) - labels * z
    return losses


def _pool(inputs: pd.DataFrame, labels: Numbers, linear: Linear, terms: pd.DataFrame) -> Pool:
    """Return a pool whose starting point is the trunk's log-odds."""
    names = list(inputs.columns)
    return Pool(
        inputs.to_numpy(dtype=np.float32),
        labels,
        baseline=apply_linear(linear, terms),
        feature_names=names,
    )


def _labels(rows: pd.DataFrame, slice_name: str) -> Numbers:
    labels = rows["bought"].to_numpy(dtype=float)
    if not 0 < labels.sum() < len(labels):
        raise NothingToLearnFrom(
            f"bought has a single value in the {len(labels)} rows of the {slice_name} slice; "
            "cannot train"
        )
    return labels
