"""Purchase propensity: frame in, frame out.

A score is a sum of log-odds: a linear trunk on logarithms of recency, frequency, money and age and
on the BG/NBD rhythm of purchases, plus CatBoost trees fitted on what the trunk leaves over, then
the two-parameter calibration map. Trees alone can't say what happens at ages and in seasons they
have not seen; the trunk carries on, and the trees correct it where the data say so (docs/cdnow.md
has the figures). Because all parts add up, so do the reasons.

``FEATURES`` are the columns of sql/purchase_propensity/dataset.sql and what is made of them here;
everything learned from data is in ``Fitted``.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from catboost import CatBoostClassifier, Pool
from numpy.typing import NDArray
from sklearn.linear_model import GammaRegressor, LogisticRegression

from jobs import calibration as logistic_map
from jobs.calibration import Calibration, NothingToLearnFrom
from jobs.purchase_propensity import bgnbd
from jobs.purchase_propensity.bgnbd import BgNbd

HORIZON_DAYS = 90
# Label windows of one gate, one fit: the newest fitting cutoff is two horizons before as_of.
CUTOFFS = 4
CUTOFF_STEP_DAYS = 30
# The level is forecast from the newest complete labels.
LEVEL_CUTOFFS = 3
LEVEL_STEP_DAYS = 15
SEED = 7
THREADS = 2
REASONS = 5
BLOCK_ROWS = 50_000  # an explanation needs some 5 kB a row while it is made
TRAIN_PERCENT, VALIDATION_PERCENT = 70, 15  # of clients; the rest calibrates

PARAMS: dict[str, float] = {
    "ridge": 0.04,  # of the trunk, per unit of information (rows x rate x (1 - rate))
    "depth": 3,
    "learning_rate": 0.03,
    "l2_leaf_reg": 30.0,
    "iterations": 300,
    "patience": 30,
}

WINDOWS = (7, 30, 90, 180)
CHANNELS = ("email", "mobile_push", "web_push", "sms")

AGES = {
    "seen_days": "Days since the client was first seen",
    "tenure_days": "Days since the first purchase",
    "days_since_purchase": "Days since the last purchase",
}
COUNTS = {
    "purchase_days": "Days with a purchase so far",
    "lines_bought": "Lines bought so far",
    "quantity": "Pieces bought so far",
    "spent": "Spent so far",
    **{f"purchase_days_{w}d": f"Days with a purchase in the last {w} days" for w in WINDOWS},
    **{f"quantity_{w}d": f"Pieces bought in the last {w} days" for w in WINDOWS},
    **{f"spent_{w}d": f"Spent in the last {w} days" for w in WINDOWS},
    "purchase_days_this_season": "Days with a purchase in the coming 90 days, a year ago",
    "category_breadth_365d": "Different categories bought in the last 365 days",
    "tied_campaigns_365d": "Campaigns that led to a purchase in the last 365 days",
    **{
        f"{event}_{w}d": f"{said} in the last {w} days"
        for event, said in {
            "sends": "Messages sent",
            "opens": "Messages opened",
            "clicks": "Messages clicked",
        }.items()
        for w in WINDOWS
    },
    **{
        f"{event}_{channel}_90d": f"{event.capitalize()} by {channel} in the last 90 days"
        for channel in CHANNELS
        for event in ("sends", "opens", "clicks")
    },
    "message_purchases_180d": "Purchases after a message in the last 180 days",
    "closes_180d": "Messages closed in the last 180 days",
    "unsubscribes_180d": "Unsubscribed in the last 180 days",
    "complaints_180d": "Complaints in the last 180 days",
    "hard_bounces_180d": "Messages that could never arrive in the last 180 days",
    "soft_bounces_180d": "Messages that did not arrive in the last 180 days",
}
MEASURES = {
    "gap_mean": "Mean days between purchases",
    "gap_spread": "Spread of the days between purchases",
    "gap_max": "Longest gap between purchases, in days",
    "last_spent": "Spent at the last purchase",
    "last_quantity": "Pieces at the last purchase",
    "price_usual": "Usual price of a line",
    "price_min_365d": "Lowest price paid in the last 365 days",
    "price_max_365d": "Highest price paid in the last 365 days",
    "discount_90d": "Discount of the last 90 days against the client's usual price",
    "discount_last": "Discount of the last purchase against the client's usual price",
    "tied_share_365d": "Share of lines bought after a message in the last 365 days",
    **{
        f"tied_{channel}_share_365d": f"Share of lines bought after a message by {channel}"
        for channel in CHANNELS
    },
    "click_to_purchase_180d": "Purchases per clicked message in the last 180 days",
    "days_since_send": "Days since the last message was sent",
    "days_since_open": "Days since the last message was opened",
    "days_since_click": "Days since the last message was clicked",
    "days_since_unsubscribe": "Days since the client unsubscribed",
}
# Missing would say "bought nothing lately", which in a young shop hardly a training row does.
ABSENT_IS_NONE = ("discount_90d",)
COLUMNS = (*AGES, *COUNTS, *MEASURES)  # what the dataset delivers, beside categories
DERIVED = {
    "never_bought": "1 for a client who never bought",
    "buying_days": "Days from the first to the last purchase",
    "purchase_rate": "Repeat purchases per 90 days of the client's life",
    "recency_to_tenure": "Days since the last purchase, as a share of the client's life",
    "recency_to_gap": "Days since the last purchase, in usual gaps between purchases",
    "recency_to_gap_max": "Days since the last purchase, in longest gaps between purchases",
    "spent_per_day": "Spent per day with a purchase",
    "quantity_per_day": "Pieces per day with a purchase",
    "recent_rate_90d": "Days with a purchase in the last 90 days, per day known in them",
    "recent_rate_180d": "Days with a purchase in the last 180 days, per day known in them",
}
GROUPS = {
    "rhythm": "Chance of a purchase from the rhythm of purchases alone (BG/NBD)",
    "categories": "Which categories the client bought (item2vec); the value is how many",
}
FEATURES: dict[str, str] = {**AGES, **COUNTS, **MEASURES, **DERIVED, **GROUPS}

RHYTHM = ("rhythm_log_odds", "rhythm_alive", "rhythm_rate")
PURCHASE_LOGS = (  # of a client who bought
    *("days_since_purchase", "purchase_days", "spent", "tenure_days", "purchase_days_30d"),
    *("purchase_days_90d", "lines_bought", "quantity", "buying_days", "spent_90d"),
    "purchase_rate",
)
CLIENT_LOGS = ("seen_days", "sends_30d", "opens_90d", "clicks_90d")
TRUNK = (*PURCHASE_LOGS, *CLIENT_LOGS, *RHYTHM, "never_bought")
SPEND_LOGS = ("last_spent", "spent_per_day")
SPEND = (
    *("spent", "purchase_days", "lines_bought", "quantity", "spent_90d", "purchase_days_90d"),
    *("days_since_purchase", "tenure_days", "purchase_rate", "rhythm_log_odds", "rhythm_rate"),
    *(*SPEND_LOGS, "never_bought"),
)
SPEND_PENALTY = 0.01
SPEND_BUYERS = 200  # fewer say nothing about the spread of spend
# Trees can't carry on past what training saw, so they are kept from plain ages, and from sums of
# purchases over 90 days and more, which grow until the shop is as old as the window; rates stay.
OUTGROWN = (
    *("spent", "quantity", "buying_days"),
    *(f"{what}_{w}d" for what in ("purchase_days", "quantity", "spent") for w in (90, 180)),
)
TREES = tuple(name for name in (*COUNTS, *MEASURES, *DERIVED, *RHYTHM) if name not in OUTGROWN)
WORD_SIZE = 8
WORDS_FROM = 5  # a category bought less often has no vector
WORDS = tuple(f"category_{place}" for place in range(WORD_SIZE))

Numbers = NDArray[np.float64]


class VersionOutdated(ValueError):
    """The version reads something that the code no longer makes."""


class InputsMissing(ValueError):
    """The dataset lacks columns."""


@dataclass(frozen=True)
class Linear:
    """Log-odds linear in terms: intercept + sum of weight * (term - centre) / scale."""

    terms: tuple[str, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float


@dataclass(frozen=True)
class Spend:
    """Spend of buyers: exp of ``log_mean``, at most ``most``, the largest spend seen."""

    log_mean: Linear
    most: float


@dataclass(frozen=True)
class Words:
    """Item2vec: one vector per category that was bought often enough."""

    names: tuple[str, ...]
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class Fitted:
    """A model or baseline with everything it learned; ``trees`` is None for baselines.

    ``spend`` gives the logarithm of what a client who buys spends within the horizon; it is None
    where it did not beat the mean spend of buyers.
    """

    name: str
    linear: Linear
    rhythm: BgNbd | None
    calibration: Calibration
    trees: CatBoostClassifier | None = None
    words: Words | None = None
    spend: Spend | None = None


@dataclass(frozen=True)
class Slices:
    """Rows to fit on: clients are in one slice only, so no client's labels are in two."""

    train: pd.DataFrame
    validation: pd.DataFrame
    calibration: pd.DataFrame


def fitting_cutoffs(as_of: date) -> list[date]:
    """Return the cutoffs to fit on for ``as_of``, newest first.

    The gate tests on features at as_of - 90 days; all fitting labels end by that day.
    """
    newest = as_of - timedelta(days=2 * HORIZON_DAYS)
    return [newest - timedelta(days=CUTOFF_STEP_DAYS * step) for step in range(CUTOFFS)]


def gate_cutoff(as_of: date) -> date:
    """Return the newest cutoff whose labels are complete at ``as_of``."""
    return as_of - timedelta(days=HORIZON_DAYS)


def level_cutoffs(as_of: date) -> list[date]:
    """Return the newest cutoffs with complete labels, whose rows calibrate scores for ``as_of``."""
    newest = gate_cutoff(as_of)
    return [newest - timedelta(days=LEVEL_STEP_DAYS * step) for step in range(LEVEL_CUTOFFS)]


def labelled(datasets: Mapping[date, pd.DataFrame]) -> pd.DataFrame:
    """Return the labelled rows of each cutoff's dataset, with ``cutoff_age``: days before newest.

    Raises:
        NothingToLearnFrom: if there is none.
    """
    newest = max(datasets)
    rows = pd.concat(
        [
            dataset[dataset["bought"].notna()].assign(cutoff_age=(newest - cutoff).days)
            for cutoff, dataset in datasets.items()
        ],
        ignore_index=True,
    )
    if rows.empty:
        raise NothingToLearnFrom(
            f"no labelled row at cutoffs {sorted(map(str, datasets))}: is known_by at least "
            f"{HORIZON_DAYS} days later, and are purchases extracted that far back?"
        )
    return rows


def split(datasets: Mapping[date, pd.DataFrame]) -> Slices:
    """Return the rows of each cutoff's dataset, cut into slices by client.

    Training sees 70 % of the clients and calibration 15 %, at every cutoff; validation (early
    stopping, tuning) sees the other 15 % at the newest cutoff.

    Raises:
        NothingToLearnFrom: if there is no labelled row.
    """
    rows = labelled(datasets)
    percent = _percent(rows["client_id"].to_numpy())
    latest = (rows["cutoff_age"] == 0).to_numpy()
    trained = percent < TRAIN_PERCENT
    validated = percent < TRAIN_PERCENT + VALIDATION_PERCENT
    return Slices(
        rows[trained].reset_index(drop=True),
        rows[~trained & validated & latest].reset_index(drop=True),
        rows[~validated].reset_index(drop=True),
    )


def fit(
    slices: Slices,
    params: Mapping[str, float] | None = None,
    current: pd.DataFrame | None = None,
) -> Fitted:
    """Return the model fitted on ``slices``.

    Args:
        slices: what ``split`` returns.
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
        rows: what ``labelled`` returns; to serve as_of, of the datasets at ``level_cutoffs``.
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
    chances = logistic_map.probability(_linear(forecast, terms_of(rhythm, current)))
    return float(chances.mean())


def tune(
    slices: Slices, trials: int, seed: int = SEED, start: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return the parameters with the smallest log loss on the validation slice.

    The split is by time: trials fit on the older cutoffs and are judged on other clients at the
    newest. (Judged within the cutoffs they were fitted on, less careful parameters won, and lost
    on the days to come; docs/cdnow.md.)

    ``start`` (default PARAMS) is the first trial, and stays unless the best trial beats it by more
    than two standard errors of the paired difference: the best of several trials is lucky by more
    than one, and what is gained by luck is lost later.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    fixed = {**PARAMS, **(start or {})}
    older = slices.train[slices.train["cutoff_age"] > 0].reset_index(drop=True)
    train = older if older["bought"].nunique() > 1 else slices.train
    rows = _prepare(train, slices.validation)

    def loss(trial: optuna.Trial) -> float:
        params = fixed | {
            "ridge": trial.suggest_float("ridge", 0.004, 0.4, log=True),
            "depth": trial.suggest_int("depth", 2, 6),
            "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
            "l2_leaf_reg": trial.suggest_float("l2_leaf_reg", 3, 100, log=True),
        }
        fitted = _fit_uncalibrated(rows, params)
        z = _log_odds(fitted, rows.held_terms, rows.held_inputs)
        found.append(_losses(z, rows.held_labels))
        return float(found[-1].mean())

    found: list[Numbers] = []
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    tunable = ("ridge", "depth", "learning_rate", "l2_leaf_reg")
    study.enqueue_trial({name: fixed[name] for name in tunable})
    study.optimize(loss, n_trials=trials)
    gain = found[0] - found[study.best_trial.number]
    best: dict[str, float] = study.best_params
    return fixed | best if gain.mean() > 2 * gain.std() / np.sqrt(len(gain)) else fixed


def score(
    fitted: Fitted, dataset: pd.DataFrame, calibration: Calibration | None = None
) -> pd.DataFrame:
    """Return client_id, probability and expected_spend_90d, one row per input row, same order.

    The expected spend is the probability times what a client like this spends when buying; NaN
    where the model has none.

    Args:
        fitted: model or baseline.
        dataset: rows of the dataset.
        calibration: newer map than the one fitted with the model, from ``calibrate``.
    """
    z = logistic_map.apply(calibration or fitted.calibration, raw_log_odds(fitted, dataset))
    chance = logistic_map.probability(z)
    spend = [_spend(fitted, block) for block in _blocks(dataset)]
    return dataset[["client_id"]].assign(
        probability=chance, expected_spend_90d=chance * np.concatenate([np.zeros(0), *spend])
    )


def explain(
    fitted: Fitted, dataset: pd.DataFrame, calibration: Calibration | None = None
) -> pa.Table:
    """Return scores with their reasons, one row per input row, same order.

    Columns: client_id, probability, expected_spend_90d (null without a spend model),
    reason_features, reason_values, reason_contributions (the five largest contributions to the
    log-odds, largest first, ties by the order of FEATURES) and reason_rest; contributions and rest
    sum to the log-odds of ``probability``.
    """
    tables = [
        _explain_block(fitted, block, calibration or fitted.calibration)
        for block in _blocks(dataset)
    ]
    return pa.concat_tables(tables) if tables else _reasons_table({})


def contributions(fitted: Fitted, dataset: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Return each feature's contribution to the raw log-odds, and the constant beside them.

    One column per feature that the model uses, named and ordered as in FEATURES; a row's sum plus
    the constant is ``raw_log_odds``. Linear terms count from their mean, trees by exact SHAP.
    """
    terms, inputs = _terms(fitted, dataset)
    linear = fitted.linear
    names = [_feature(term) for term in linear.terms]
    parts = [_standardised(linear, terms) * np.array(linear.weights)]
    constant = linear.intercept
    if fitted.trees is not None:
        matrix = inputs.to_numpy(dtype=np.float32)
        shap = fitted.trees.get_feature_importance(
            Pool(matrix), type="ShapValues", thread_count=THREADS
        )
        parts.append(shap[:, :-1])
        names += [_feature(name) for name in inputs.columns]
        constant += float(shap[0, -1]) if len(shap) else 0.0
    used = [name for name in FEATURES if name in set(names)]
    place = {name: at for at, name in enumerate(used)}
    summed = np.zeros((len(dataset), len(used)))
    for name, column in zip(names, np.hstack(parts).T, strict=True):
        summed[:, place[name]] += column
    return pd.DataFrame(summed, columns=used, index=dataset.index), constant


def raw_log_odds(fitted: Fitted, dataset: pd.DataFrame) -> Numbers:
    """Return the log-odds before calibration, one per row."""
    parts = [np.zeros(0)]
    for block in _blocks(dataset):
        parts.append(_log_odds(fitted, *_terms(fitted, block)))
    return np.concatenate(parts)


def _log_odds(fitted: Fitted, terms: pd.DataFrame, inputs: pd.DataFrame) -> Numbers:
    z = _linear(fitted.linear, terms)
    if fitted.trees is None:
        return z
    matrix = inputs.to_numpy(dtype=np.float32)
    added: Numbers = fitted.trees.predict(
        matrix, prediction_type="RawFormulaVal", thread_count=THREADS
    )
    return z + added


def importance(fitted: Fitted, dataset: pd.DataFrame) -> pd.Series:
    """Return each feature's mean absolute contribution to the calibrated log-odds, descending."""
    moved = contributions(fitted, dataset)[0].abs().mean() * fitted.calibration.slope
    return moved.sort_values(ascending=False, kind="stable")


def features(fitted: Fitted, dataset: pd.DataFrame) -> pd.DataFrame:
    """Return FEATURES as the reasons show them: one column each, missing as NaN."""
    values = _derive(dataset)
    values["rhythm"] = np.nan
    if fitted.rhythm is not None:
        values["rhythm"] = logistic_map.probability(_rhythm(fitted.rhythm, values)[RHYTHM[0]])
        values.loc[values["never_bought"] == 1, "rhythm"] = np.nan
    values["categories"] = values["category_breadth_365d"]
    return values[list(FEATURES)]


def save(fitted: Fitted, folder: Path) -> None:
    """Write ``fitted`` to ``folder``: model.json, and trees.cbm and words.npy where there are."""
    folder.mkdir(parents=True, exist_ok=True)
    described: dict[str, Any] = {
        "name": fitted.name,
        "linear": asdict(fitted.linear),
        "rhythm": asdict(fitted.rhythm) if fitted.rhythm else None,
        "calibration": asdict(fitted.calibration),
        "trees": "trees.cbm" if fitted.trees is not None else None,
        "words": list(fitted.words.names) if fitted.words else None,
        "spend": asdict(fitted.spend) if fitted.spend else None,
    }
    if fitted.trees is not None:
        fitted.trees.save_model(str(folder / "trees.cbm"))
    if fitted.words:
        np.save(folder / "words.npy", fitted.words.vectors)
    (folder / "model.json").write_text(json.dumps(described, indent=1))


def load(folder: Path) -> Fitted:
    """Return what ``save`` wrote to ``folder``.

    Raises:
        FileNotFoundError: if a file is not there.
    """
    described = json.loads((folder / "model.json").read_text())
    trees = words = spend = None
    if described["trees"]:
        trees = CatBoostClassifier()
        trees.load_model(str(folder / described["trees"]))
    if described["words"]:
        words = Words(tuple(described["words"]), np.load(folder / "words.npy"))
    if described["spend"]:
        log_mean = _linear_from(described["spend"]["log_mean"])
        spend = Spend(log_mean, described["spend"]["most"])
    return Fitted(
        name=described["name"],
        linear=_linear_from(described["linear"]),
        rhythm=BgNbd(**described["rhythm"]) if described["rhythm"] else None,
        calibration=Calibration(**described["calibration"]),
        trees=trees,
        words=words,
        spend=spend,
    )


def _linear_from(described: Mapping[str, Any]) -> Linear:
    lists = {name: tuple(described[name]) for name in ("terms", "centre", "scale", "weights")}
    return Linear(**lists, intercept=described["intercept"])


def fit_linear(terms: pd.DataFrame, labels: Numbers, ridge: float, names: Sequence[str]) -> Linear:
    """Return a ridge logistic regression on ``names`` of ``terms``.

    Args:
        terms: one column per term; NaN counts as the term's mean.
        labels: 0 or 1.
        ridge: penalty on standardised weights, per unit of information.
        names: terms to use.
    """
    rate = labels.mean()
    unfitted = _standardisation(terms, names)
    if not names:
        return replace(unfitted, intercept=float(logistic_map.log_odds(rate)))
    penalty = max(ridge * len(labels) * rate * (1 - rate), 1e-6)
    regression = LogisticRegression(C=1 / penalty, max_iter=1000, tol=1e-6)
    regression.fit(_standardised(unfitted, terms), labels)
    weights = tuple(regression.coef_[0].tolist())
    return replace(unfitted, weights=weights, intercept=float(regression.intercept_[0]))


def fit_spend(rhythm: BgNbd | None, slices: Slices) -> Spend | None:
    """Return a gamma regression of what buyers spend, None where it is no better than their mean.

    Better means a smaller squared error over the buyers of the validation slice.
    """
    terms, spent = _buyers(rhythm, slices.train)
    held_out, held_spent = _buyers(rhythm, slices.validation)
    if len(spent) < SPEND_BUYERS or not len(held_spent):
        return None
    unfitted = _standardisation(terms, SPEND)
    regression = GammaRegressor(alpha=SPEND_PENALTY, max_iter=1000)
    regression.fit(_standardised(unfitted, terms), spent)
    weights = tuple(regression.coef_.tolist())
    fitted = replace(unfitted, weights=weights, intercept=float(regression.intercept_))
    most = float(spent.max())
    # The log link keeps no total: scale so that the buyers seen spend what they spent.
    scale = spent.sum() / _spend_of(Spend(fitted, most), terms).sum()
    spend = Spend(replace(fitted, intercept=fitted.intercept + float(np.log(scale))), most)
    error = np.mean((_spend_of(spend, held_out) - held_spent) ** 2)
    return spend if error < np.mean((spent.mean() - held_spent) ** 2) else None


def fit_rhythm(rows: pd.DataFrame) -> BgNbd | None:
    """Return BG/NBD fitted on the buyers of the newest cutoff in ``rows``, None without any."""
    bought = rows[(rows["purchase_days"].fillna(0) > 0) & (rows["tenure_days"] > 0)]
    if "cutoff_age" in rows:
        bought = bought[bought["cutoff_age"] == bought["cutoff_age"].min()]
    return bgnbd.fit(*_purchases(bought)) if len(bought) else None


def terms_of(rhythm: BgNbd | None, dataset: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of TRUNK and SPEND; NaN where a client has no such thing."""
    return _trunk_terms(_derive(dataset), rhythm)


def _buyers(rhythm: BgNbd | None, rows: pd.DataFrame) -> tuple[pd.DataFrame, Numbers]:
    """Return terms and spend of the rows whose window holds a purchase with a price."""
    buyers = rows[rows["spent_next"].to_numpy(dtype=float) > 0]
    return terms_of(rhythm, buyers), buyers["spent_next"].to_numpy(dtype=float)


def _spend(fitted: Fitted, block: pd.DataFrame) -> Numbers:
    """Return what each client spends in the horizon if they buy; NaN without a spend model."""
    if fitted.spend is None:
        return np.full(len(block), np.nan)
    return _spend_of(fitted.spend, terms_of(fitted.rhythm, block))


def _spend_of(spend: Spend, terms: pd.DataFrame) -> Numbers:
    logs = _linear(spend.log_mean, terms)
    capped: Numbers = np.exp(np.minimum(logs, np.log(spend.most)))
    return capped


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
    rhythm, words = fit_rhythm(train), _learn_words(train)
    start = Fitted("catboost", unfitted, rhythm, Calibration(), None, words)
    return _Prepared(start, labels, *_terms(start, train), held_labels, *_terms(start, validation))


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
    trunk = _linear(linear, rows.held_terms)
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
        baseline=_linear(linear, terms),
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


def _explain_block(fitted: Fitted, block: pd.DataFrame, calibration: Calibration) -> pa.Table:
    moved, constant = contributions(fitted, block)
    scaled = moved.to_numpy() * calibration.slope
    z = calibration.intercept + calibration.slope * constant + scaled.sum(axis=1)
    probability = logistic_map.probability(z).astype(np.float32)
    kept = min(REASONS, scaled.shape[1])
    top = np.argsort(-np.abs(scaled), axis=1, kind="stable")[:, :kept]
    largest = np.take_along_axis(scaled, top, axis=1).astype(np.float32)
    values = features(fitted, block)[list(moved.columns)].to_numpy(dtype=np.float32)
    # What is published must add up, so the rest is taken after rounding to real.
    published = logistic_map.log_odds(probability.astype(float))
    rest = published - largest.astype(float).sum(axis=1)
    names = np.array(moved.columns, dtype=object)
    shown = np.take_along_axis(values, top, axis=1)
    return _reasons_table(
        {
            "client_id": block["client_id"].to_numpy(dtype=np.int64),
            "probability": probability,
            "expected_spend_90d": pa.array(
                (probability * _spend(fitted, block)).astype(np.float32), from_pandas=True
            ),
            "reason_features": _lists(
                pa.DictionaryArray.from_arrays(
                    pa.array(top.ravel().astype(np.int32)), pa.array(names, pa.string())
                ).cast(pa.string()),
                len(block),
            ),
            "reason_values": _lists(pa.array(shown.ravel(), from_pandas=True), len(block)),
            "reason_contributions": _lists(pa.array(largest.ravel()), len(block)),
            "reason_rest": rest.astype(np.float32),
        }
    )


def _lists(values: pa.Array, rows: int) -> pa.Array:
    """Return ``values`` as ``rows`` lists of equal length."""
    width = len(values) // rows
    offsets = np.arange(rows + 1, dtype=np.int32) * width
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _reasons_table(columns: Mapping[str, Any]) -> pa.Table:
    schema = pa.schema(
        [
            ("client_id", pa.int64()),
            ("probability", pa.float32()),
            ("expected_spend_90d", pa.float32()),
            ("reason_features", pa.list_(pa.string())),
            ("reason_values", pa.list_(pa.float32())),
            ("reason_contributions", pa.list_(pa.float32())),
            ("reason_rest", pa.float32()),
        ]
    )
    return pa.table({name: columns.get(name, []) for name in schema.names}, schema=schema)


def _blocks(dataset: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for start in range(0, len(dataset), BLOCK_ROWS):
        yield dataset.iloc[start : start + BLOCK_ROWS]


def _feature(name: str) -> str:
    """Return the feature that a term or tree input belongs to."""
    if name in RHYTHM:
        return "rhythm"
    return "categories" if name in WORDS else name


def _terms(fitted: Fitted, dataset: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the linear terms and the tree inputs of ``dataset``.

    Trees already fitted name their own inputs: a version goes on serving after TREES has changed.

    Raises:
        VersionOutdated: if they name one that is no longer made.
    """
    values = _derive(dataset)
    terms = _trunk_terms(values, fitted.rhythm)
    made = [values, terms[list(RHYTHM)]]
    if fitted.words:
        means = _word_means(fitted.words, dataset["categories"])
        made.append(pd.DataFrame(means, index=dataset.index, columns=WORDS))
    inputs = pd.concat(made, axis=1)
    wanted = [*TREES, *(WORDS if fitted.words else ())]
    if fitted.trees is not None:
        wanted = list(fitted.trees.feature_names_)
    return terms, _named(inputs, wanted)


def _named(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    if gone := [name for name in names if name not in frame]:
        raise VersionOutdated(
            f"this version reads {gone}, which the code no longer makes: promote a newer version, "
            "or run the code that it was trained with (its MLflow run names the commit)"
        )
    return frame[list(names)]


def _derive(dataset: pd.DataFrame) -> pd.DataFrame:
    """Return COLUMNS and DERIVED as numbers: absent counts are 0, most absent measures NaN.

    Raises:
        InputsMissing: if a column is missing.
        ValueError: if one is not numeric.
    """
    if missing := [name for name in COLUMNS if name not in dataset]:
        raise InputsMissing(
            f"the dataset lacks {missing}; sql/purchase_propensity/dataset.sql delivers them"
        )
    rows = {name: dataset[name].to_numpy(dtype=float, na_value=np.nan) for name in COLUMNS}
    for name in (*COUNTS, *ABSENT_IS_NONE):
        rows[name] = np.nan_to_num(rows[name], nan=0.0)
    tenure, recency, days = rows["tenure_days"], rows["days_since_purchase"], rows["purchase_days"]
    with np.errstate(divide="ignore", invalid="ignore"):
        derived = {
            "never_bought": (days == 0).astype(float),
            "buying_days": tenure - recency,
            "purchase_rate": (days - 1) / tenure * 90,
            "recency_to_tenure": recency / tenure,
            "recency_to_gap": recency / rows["gap_mean"],
            "recency_to_gap_max": recency / rows["gap_max"],
            "spent_per_day": rows["spent"] / days,
            "quantity_per_day": rows["quantity"] / days,
            "recent_rate_90d": rows["purchase_days_90d"] / np.minimum(tenure, 90),
            "recent_rate_180d": rows["purchase_days_180d"] / np.minimum(tenure, 180),
        }
    for name in DERIVED:
        rows[name] = np.where(np.isfinite(derived[name]), derived[name], np.nan)
    return pd.DataFrame(rows, index=dataset.index)


def _trunk_terms(values: pd.DataFrame, rhythm: BgNbd | None) -> pd.DataFrame:
    bought = values["never_bought"].to_numpy() == 0
    terms = {
        name: np.where(bought, np.log1p(np.maximum(values[name].to_numpy(), 0)), np.nan)
        for name in PURCHASE_LOGS
    }
    terms |= {name: np.log1p(np.maximum(values[name].to_numpy(), 0)) for name in CLIENT_LOGS}
    terms |= {name: np.log1p(np.maximum(values[name].to_numpy(), 0)) for name in SPEND_LOGS}
    terms |= _rhythm(rhythm, values)
    terms["never_bought"] = values["never_bought"].to_numpy()
    return pd.DataFrame(terms, index=values.index)


def _rhythm(rhythm: BgNbd | None, values: pd.DataFrame) -> dict[str, Numbers]:
    """Return the columns of RHYTHM; NaN for a client who never bought."""
    columns = {name: np.full(len(values), np.nan) for name in RHYTHM}
    bought = ((values["never_bought"] == 0) & (values["tenure_days"] > 0)).to_numpy()
    if rhythm is None or not bought.any():
        return columns
    x, tx, age = _purchases(values[bought])
    chance = bgnbd.chance_to_buy(rhythm, x, tx, age, HORIZON_DAYS)
    columns["rhythm_log_odds"][bought] = logistic_map.log_odds(chance)
    alive = bgnbd.chance_alive(rhythm, x, tx, age)
    columns["rhythm_alive"][bought] = logistic_map.log_odds(np.clip(alive, 1e-6, 1 - 1e-6))
    columns["rhythm_rate"][bought] = np.log((rhythm.r + x) / (rhythm.alpha + age))
    return columns


def _purchases(rows: pd.DataFrame) -> tuple[Numbers, Numbers, Numbers]:
    """Return repeat purchases, age at the last and age now, of clients who bought."""
    age = rows["tenure_days"].to_numpy(dtype=float)
    tx = age - rows["days_since_purchase"].to_numpy(dtype=float)
    return rows["purchase_days"].to_numpy(dtype=float) - 1, tx, age


def _linear(linear: Linear, terms: pd.DataFrame) -> Numbers:
    total: Numbers = linear.intercept + _standardised(linear, terms) @ np.array(linear.weights)
    return total


def _standardisation(terms: pd.DataFrame, names: Sequence[str]) -> Linear:
    """Return centre and scale of ``names`` over the rows that have them, weights still 0."""
    values = terms[list(names)].to_numpy(dtype=float)
    present = ~np.isnan(values)
    count = np.maximum(present.sum(axis=0), 1)
    centre = np.where(present, values, 0).sum(axis=0) / count
    spread = np.sqrt((np.where(present, values - centre, 0) ** 2).sum(axis=0) / count)
    scale = np.where(spread > 1e-9, spread, 1.0)
    nothing = (0.0,) * len(names)
    return Linear(tuple(names), tuple(centre.tolist()), tuple(scale.tolist()), nothing, 0.0)


def _standardised(linear: Linear, terms: pd.DataFrame) -> Numbers:
    values = _named(terms, linear.terms).to_numpy(dtype=float)
    scaled = (values - np.array(linear.centre)) / np.array(linear.scale)
    return np.where(np.isnan(scaled), 0.0, scaled)


def _learn_words(train: pd.DataFrame) -> Words | None:
    """Return category vectors learned from the clients' categories at the newest cutoff."""
    from gensim.models import Word2Vec

    if "categories" not in train:
        return None
    newest = train[train["cutoff_age"] == train["cutoff_age"].min()].sort_values("client_id")
    sequences = [list(map(str, ids)) for ids in newest["categories"] if ids is not None]
    seen = pd.Series([word for ids in sequences for word in ids], dtype=object).value_counts()
    if (seen >= WORDS_FROM).sum() < 2:
        return None
    logging.getLogger("gensim").setLevel(logging.WARNING)  # else every epoch is a line
    learned = Word2Vec(
        sequences,
        vector_size=WORD_SIZE,
        window=5,
        min_count=WORDS_FROM,
        sg=1,
        epochs=5,
        seed=SEED,
        workers=1,
    )
    return Words(tuple(learned.wv.index_to_key), learned.wv.vectors.astype(np.float32))


def _word_means(words: Words, categories: pd.Series) -> NDArray[np.float32]:
    """Return the mean vector of each client's categories; NaN without a known one."""
    lists = [() if ids is None else ids for ids in categories]
    lengths = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
    owner = np.repeat(np.arange(len(lists)), lengths)
    flat = pd.Index([word for ids in lists for word in ids], dtype=object)
    places = pd.Index(words.names, dtype=object).get_indexer(flat)
    owner, places = owner[places >= 0], places[places >= 0]
    known = np.bincount(owner, minlength=len(lists))
    means = np.full((len(lists), WORD_SIZE), np.nan, dtype=np.float32)
    for column in range(WORD_SIZE):
        total = np.bincount(owner, words.vectors[places, column], minlength=len(lists))
        means[known > 0, column] = (total[known > 0] / known[known > 0]).astype(np.float32)
    return means


def _percent(clients: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return 0 to 99 for each client, at random but always the same (splitmix64)."""
    bits = clients.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (bits ^ (bits >> np.uint64(31))) % np.uint64(100)
