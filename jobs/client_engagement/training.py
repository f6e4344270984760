"""Fitting: what is collinear goes, candidates are compared, the chosen one is fitted."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from imblearn.pipeline import Pipeline
from numpy.typing import NDArray

from jobs import calibration as logistic_map
from jobs import evaluation
from jobs.calibration import Calibration, NothingToLearnFrom
from jobs.client_engagement import bench, candidates
from jobs.client_engagement.bench import Rows, some_of
from jobs.client_engagement.candidates import CONSTANT, MODELS, PARAMS
from jobs.client_engagement.collinear import inflation
from jobs.client_engagement.features import EVERYTHING, WORDS, Columns, inputs
from jobs.client_engagement.labels import LABEL
from jobs.client_engagement.log_odds import log_odds, matrix_of
from jobs.client_engagement.model import Fitted, raw_log_odds
from jobs.client_scores.slices import Slices
from jobs.client_scores.threshold import Aim, Threshold, choose
from jobs.client_scores.tuning import search
from jobs.client_scores.words import WORD_SIZE, Words, learn_words

if TYPE_CHECKING:  # takes a second
    import optuna

FOLDS = 3
TUNE_ROWS = 20_000
MEAN_ROWS = 50_000
FIT_ROWS = 1_000_000
# Columns of each baseline: everybody the same; days since the last answer; what was answered.
BASELINES: dict[str, tuple[str, ...]] = {
    "base_rate": (),
    "recency": ("days_since_click", "days_since_open", "days_since_last_purchase"),
    "activity": (
        *("total_clicks", "clicks_90d", "total_opens", "opens_90d", "sends_90d"),
        *("days_since_click", "days_since_open"),
    ),
}
SPACE: dict[str, dict[str, tuple[float, float, bool]]] = {
    "logistic": {"ridge": (0.004, 0.4, True)},
    "catboost": {
        "depth": (2, 6, False),
        "learning_rate": (0.02, 0.2, True),
        "l2_leaf_reg": (3, 100, True),
    },
    "forest": {"min_samples_leaf": (5, 100, True), "max_features": (0.1, 0.6, False)},
}
WHOLE = {"depth", "min_samples_leaf"}

Numbers = NDArray[np.float64]


def fit_all(
    slices: Slices,
    params: Mapping[str, float],
    gate_rows: pd.DataFrame,
    aim: Aim,
) -> dict[str, Fitted]:
    """Return 'model', the chosen candidate, and every baseline by name.

    The gate's rows tell how many clients a budget is taken from and are what the bench's figures
    are measured on; which candidate is chosen, its map's slope and its threshold rest on the rows
    of the validation and calibration clients.

    Raises:
        NothingToLearnFrom: if a slice has a single label.
    """
    params = {**PARAMS, **params}
    for name in ("train", "validation", "calibration"):
        require_both(getattr(slices, name), name)
    words = learned_words(slices.train)
    columns, vif = fewer(slices.train, EVERYTHING, words)
    train, held, test = (
        rows_of(part, columns, words) for part in (slices.train, held_rows(slices), gate_rows)
    )
    table, pipeline = bench.compare(train, held, test, columns, params, aim)
    model, handling, vectors = bench.chosen_of(table)
    if not vectors:
        columns, words = replace(columns, vectors=()), ()
    if pipeline is None:
        some = some_of(train, FIT_ROWS)
        read = some.inputs[[*columns.numbers, *columns.categories]]
        pipeline = candidates.fit(model, handling, columns, params, read, some.labels)
    share = recent_share(slices)
    known = len(gate_rows)

    def finished(
        name: str, columns: Columns, pipeline: Pipeline, words: tuple[tuple[str, Words], ...]
    ) -> Fitted:
        unfinished = Fitted(
            name, columns, words, pipeline, np.zeros(0), Calibration(), _NO_THRESHOLD
        )
        unfinished = replace(unfinished, centre=_centre(unfinished, slices.train))
        return settled(unfinished, slices, gate_rows, share, aim, known)

    found = {
        "model": replace(
            finished(f"{model}, {handling}", columns, pipeline, words), bench=table, vif=vif
        )
    }
    for name, amounts in BASELINES.items():
        plain = Columns(amounts, (), (), ())
        rows = some_of(rows_of(slices.train, plain, ()), FIT_ROWS)
        kind = "logistic" if amounts else CONSTANT
        fitted = candidates.fit(kind, "none", plain, PARAMS, rows.inputs, rows.labels)
        found[name] = finished(name, plain, fitted, ())
    return found


def settled(
    fitted: Fitted,
    slices: Slices,
    current: pd.DataFrame,
    share: float,
    aim: Aim,
    known: int,
) -> Fitted:
    """Return the model with the map for the clients ``current``, and with its threshold.

    The threshold is chosen on held-out rows with their own level, and holds for chances of any
    level: a chance of a tenth is a chance of a tenth.
    """
    held = held_rows(slices)
    z = raw_log_odds(fitted, held)
    labels = held[LABEL].to_numpy(dtype=float)
    own = logistic_map.fit(z, labels)
    chances = logistic_map.probability(logistic_map.apply(own, z))
    threshold = choose(aim, chances, labels, held["client_id"].to_numpy(), known)
    return replace(fitted, calibration=_levelled(own, fitted, current, share), threshold=threshold)


def calibrate(fitted: Fitted, rows: pd.DataFrame, current: pd.DataFrame) -> Calibration:
    """Return the map of ``fitted`` for the clients ``current``, from newer labelled rows.

    The slope is that of the newest cutoff's rows, whose labels no training saw; the level makes
    the mean chance of ``current`` the mean share of all cutoffs in ``rows``.
    """
    newest = rows[rows["cutoff_age"] == 0]
    own = logistic_map.fit(raw_log_odds(fitted, newest), newest[LABEL].to_numpy(dtype=float))
    share = float(rows.groupby("cutoff_age")[LABEL].mean().mean())
    return _levelled(own, fitted, current, share)


def tune(
    slices: Slices,
    trials: int,
    start: Mapping[str, float] | None,
    study: "optuna.Study",
) -> dict[str, float]:
    """Return the parameters of every model with the best mean PR AUC in FOLDS of the clients.

    Each trial draws a model and its parameters; it is pruned where its first folds do worse than
    most. A model keeps what it has (``start``, which is tried first) unless a trial was better
    by more than the folds' standard error: the best of several is lucky.
    """
    fixed = {**PARAMS, **(start or {})}
    require_both(slices.train, "train")
    words = learned_words(slices.train)
    columns, _ = fewer(slices.train, EVERYTHING, words)
    rows = some_of(rows_of(slices.train, columns, words), TUNE_ROWS)
    fold = rows.clients % FOLDS

    def objective(trial: "optuna.Trial") -> float:
        params = fixed | drawn(trial)
        model = trial.params["model"]
        found = []
        for out in range(FOLDS):
            inside, outside = fold != out, fold == out
            if rows.labels[inside].sum() == 0 or rows.labels[outside].sum() == 0:
                continue
            pipeline = candidates.fit(
                model, "none", columns, params, rows.inputs[inside], rows.labels[inside]
            )
            z = log_odds(pipeline, rows.inputs[outside])
            chance = logistic_map.probability(z)
            found.append(evaluation.metrics(rows.labels[outside], chance)["pr_auc"])
            trial.report(float(np.mean(found)), out)
            if trial.should_prune():
                raise optuna.TrialPruned
        if not found:
            raise NothingToLearnFrom("too few positives to tune with")
        trial.set_user_attr("folds", found)
        return float(np.mean(found))

    import optuna

    first = [
        {"model": model, **{f"{model}.{name}": fixed[f"{model}.{name}"] for name in SPACE[model]}}
        for model in MODELS
    ]
    search(study, objective, max(trials, len(first)), first)
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    best = dict(fixed)
    for model in MODELS:
        tried = [trial for trial in complete if trial.params["model"] == model]
        if len(tried) < 2:
            continue
        begun, top = tried[0], max(tried, key=lambda trial: trial.value or 0)
        gain = np.array(top.user_attrs["folds"]) - np.array(begun.user_attrs["folds"])
        if gain.mean() > gain.std() / np.sqrt(len(gain)):
            best |= {name: value for name, value in top.params.items() if name != "model"}
    return best


def drawn(trial: "optuna.Trial") -> dict[str, float]:
    """Return the parameters that a trial draws: a model, and its own."""
    model = trial.suggest_categorical("model", MODELS)
    return {
        f"{model}.{name}": trial.suggest_int(f"{model}.{name}", int(low), int(high), log=log)
        if name in WHOLE
        else trial.suggest_float(f"{model}.{name}", low, high, log=log)
        for name, (low, high, log) in SPACE[model].items()
    }


def learned_words(train: pd.DataFrame) -> tuple[tuple[str, Words], ...]:
    """Return vectors of each sequence in WORDS that has words enough."""
    found = [(name, learn_words(train, name)) for name in WORDS]
    return tuple((name, words) for name, words in found if words is not None)


def fewer(
    train: pd.DataFrame, columns: Columns, words: tuple[tuple[str, Words], ...]
) -> tuple[Columns, pd.DataFrame]:
    """Return the columns without those that the others determine, and the table of why."""
    vectors = tuple(f"{name}_{place}" for name, _ in words for place in range(WORD_SIZE))
    with_vectors = replace(columns, vectors=vectors)
    newest = train.iloc[:MEAN_ROWS]
    read = inputs(newest, with_vectors, words)
    prepared = candidates.prepare(replace(with_vectors, categories=()), normal=True)
    names = list(with_vectors.numbers)
    numbers = np.asarray(prepared.fit_transform(read), dtype=float)[:, : len(names)]
    table = inflation(pd.DataFrame(numbers, columns=names))
    gone = set(table.loc[table["dropped"].notna(), "feature"])

    def kept(part: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in part if name not in gone)

    return (
        Columns(kept(columns.amounts), kept(columns.measures), columns.categories, kept(vectors)),
        table,
    )


def held_rows(slices: Slices) -> pd.DataFrame:
    """Return the labelled rows of clients that nothing was fitted on."""
    return pd.concat([slices.validation, slices.calibration], ignore_index=True)


def recent_share(slices: Slices) -> float:
    """Return the mean share of the two newest cutoffs that were fitted on."""
    rows = pd.concat([slices.train, slices.calibration], ignore_index=True)
    by_day = rows.groupby("cutoff_age")[LABEL].mean().sort_index()
    return float(np.clip(by_day.iloc[:2].mean(), 1e-6, 1 - 1e-6))


def rows_of(dataset: pd.DataFrame, columns: Columns, words: tuple[tuple[str, Words], ...]) -> Rows:
    """Return what pipelines read of a slice."""
    return Rows(
        inputs(dataset, columns, words),
        dataset[LABEL].to_numpy(dtype=float),
        dataset["client_id"].to_numpy(dtype=np.int64),
    )


def require_both(rows: pd.DataFrame, name: str) -> None:
    """Raise NothingToLearnFrom if a slice has a single label."""
    if not 0 < rows[LABEL].sum() < len(rows):
        raise NothingToLearnFrom(
            f"{LABEL} has a single value in the {len(rows)} rows of the {name} slice; cannot train"
        )


_NO_THRESHOLD = Threshold("", 1.0, None, *[float("nan")] * 7)


def _levelled(own: Calibration, fitted: Fitted, current: pd.DataFrame, share: float) -> Calibration:
    scores = logistic_map.apply(own, raw_log_odds(fitted, current))
    return replace(own, intercept=own.intercept + logistic_map.shift(scores, share))


def _centre(fitted: Fitted, train: pd.DataFrame) -> Numbers:
    some = train.iloc[:MEAN_ROWS]
    read = inputs(some, fitted.columns, fitted.words)
    means: Numbers = matrix_of(fitted.pipeline, read).mean(axis=0)
    return means
