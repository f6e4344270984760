"""The imbalance bench: all candidates on the same rows, and which of them is chosen."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from catboost import CatBoostError
from imblearn.pipeline import Pipeline
from numpy.typing import NDArray

from jobs import calibration as logistic_map
from jobs import evaluation
from jobs.calibration import NothingToLearnFrom
from jobs.client_engagement import candidates
from jobs.client_engagement.candidates import HANDLINGS, MODELS
from jobs.client_engagement.features import Columns
from jobs.client_engagement.log_odds import log_odds
from jobs.client_scores.threshold import Aim, choose

log = logging.getLogger(__name__)

FIT_ROWS = 15_000
RESAMPLES = 200
ALWAYS_NO = "always_no"
CHANCES = ("roc_auc", "pr_auc", "brier", "ece")
RAW = ("brier", "ece")

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Rows of one slice: what the pipelines read, the labels, and who they are."""

    inputs: pd.DataFrame
    labels: Numbers
    clients: NDArray[np.int64]


def compare(
    train: Rows,
    held: Rows,
    test: Rows,
    columns: Columns,
    params: Mapping[str, float],
    aim: Aim,
    report: Callable[[str], None] = lambda line: None,
) -> tuple[pd.DataFrame, Pipeline | None]:
    """Return the bench's table, one row per candidate, and the chosen one's pipeline.

    Every candidate is fitted on the same rows of ``train`` (at most FIT_ROWS), calibrated and given
    its threshold on ``held``, and measured on ``test``. Chosen is, by ``held`` alone: of those
    whose PR AUC is not surely less than the best one's, the one with the smallest Brier score
    after calibration. ``test`` decides nothing.

    The table's columns are those of result.client_engagement_bench but for version and as_of. The
    pipeline is None where it was fitted on a part of ``train``: fit it again. ``report`` is told
    of each candidate.

    Raises:
        NothingToLearnFrom: if ``held`` has a single label, or no candidate could be fitted.
    """
    some = some_of(train, FIT_ROWS)
    tried: dict[tuple[str, str, bool], Pipeline] = {}
    asked = {"held": held, "test": test}
    raw: dict[str, dict[tuple[str, str, bool], Numbers]] = {name: {} for name in asked}
    seconds: dict[tuple[str, str, bool], float] = {}
    plain = Columns(columns.amounts, columns.measures, columns.categories, ())
    wanted = [(model, handling, True) for model in MODELS for handling in HANDLINGS]
    if columns.vectors:
        wanted += [(model, "none", False) for model in MODELS]
    for key in wanted:
        model, handling, vectors = key
        begun = time.perf_counter()
        try:
            fitted = candidates.fit(
                model, handling, columns if vectors else plain, params, some.inputs, some.labels
            )
            foretold = {name: log_odds(fitted, rows.inputs) for name, rows in asked.items()}
        # A resampler that finds no neighbour it needs says so by a RuntimeError.
        except (ValueError, RuntimeError, CatBoostError) as error:
            log.warning("%s with %s is left out: %s", model, handling, error)
            continue
        seconds[key] = time.perf_counter() - begun
        report(f"{len(seconds)}/{len(wanted)} {model}, {handling}: {seconds[key]:.1f} s")
        tried[key] = fitted
        for name, z in foretold.items():
            raw[name][key] = z
    if not tried:
        raise NothingToLearnFrom(
            f"no candidate could be fitted on {len(some.labels)} rows, {some.labels.sum():.0f} of "
            "them positive; the log says why each failed"
        )
    maps = {key: logistic_map.fit(z, held.labels) for key, z in raw["held"].items()}
    chances = {
        name: {
            key: logistic_map.probability(logistic_map.apply(maps[key], z))
            for key, z in each.items()
        }
        for name, each in raw.items()
    }
    chosen = _chosen(held, chances["held"])
    rows_measured = _measured(held, test, chances, raw["test"], aim)
    found = [
        {
            "model": key[0],
            "handling": key[1],
            "vectors": key[2] and bool(columns.vectors),
            "chosen": key == chosen,
            **figures,
            "fit_rows": len(some.labels),
            "seconds": seconds[key],
        }
        for key, figures in zip(tried, rows_measured, strict=True)
    ]
    found.append(_always_no(test, len(some.labels)))
    whole = len(some.labels) == len(train.labels)
    return pd.DataFrame(found), tried[chosen] if whole else None


def chosen_of(table: pd.DataFrame) -> tuple[str, str, bool]:
    """Return model, handling and whether vectors are read, of the chosen candidate."""
    row = table[table["chosen"]].iloc[0]
    return str(row["model"]), str(row["handling"]), bool(row["vectors"])


def some_of(rows: Rows, most: int) -> Rows:
    """Return at most so many of the rows, at random but always the same."""
    if len(rows.labels) <= most:
        return rows
    random = np.random.default_rng(candidates.SEED)
    kept = np.sort(random.choice(len(rows.labels), most, replace=False))
    return Rows(rows.inputs.iloc[kept], rows.labels[kept], rows.clients[kept])


def _chosen(held: Rows, chances: Mapping[tuple[str, str, bool], Numbers]) -> tuple[str, str, bool]:
    """Return the best candidate by held-out rows."""
    drawn = evaluation.resample(
        held.labels, {str(key): p for key, p in chances.items()}, held.clients, RESAMPLES
    )
    metrics = {key: evaluation.metrics(held.labels, p) for key, p in chances.items()}
    best = max(metrics, key=lambda key: metrics[key]["pr_auc"])
    close = []
    for key in metrics:
        loss = (drawn[str(best)]["pr_auc"] - drawn[str(key)]["pr_auc"]).to_numpy()
        if np.nanquantile(loss, (1 - evaluation.CONFIDENCE) / 2) <= 0:
            close.append(key)
    return min(close, key=lambda key: metrics[key]["brier"])


def _measured(
    held: Rows,
    test: Rows,
    chances: Mapping[str, Mapping[tuple[str, str, bool], Numbers]],
    raw: Mapping[tuple[str, str, bool], Numbers],
    aim: Aim,
) -> list[dict[str, object]]:
    """Return each candidate's figures, in order."""
    compared = {str(key): p for key, p in chances["test"].items()}
    compared |= {f"{key} raw": logistic_map.probability(z) for key, z in raw.items()}
    both = 0 < test.labels.sum() < len(test.labels)
    figures = evaluation.intervals(test.labels, compared, test.clients, RESAMPLES) if both else {}
    found = []
    for key, p in chances["held"].items():
        threshold = choose(aim, p, held.labels, held.clients, len(test.labels), resamples=RESAMPLES)
        yes = chances["test"][key] >= threshold.threshold
        kept = evaluation.metrics(held.labels, p)
        row: dict[str, object] = {
            "selection_pr_auc": kept["pr_auc"],
            "selection_brier": kept["brier"],
        }
        for name in CHANCES if both else ():
            row |= _ends(name, figures[str(key)][name])
        for name in RAW if both else ():
            row |= _ends(f"{name}_raw", figures[f"{key} raw"][name])
        answers = evaluation.yes_or_no(test.labels, yes, test.clients, RESAMPLES)
        for name, interval in answers.items():
            row |= _ends(name, interval)
        row |= _answers(test, yes) | {"threshold": threshold.threshold}
        found.append(row)
    return found


def _ends(name: str, interval: evaluation.Interval) -> dict[str, object]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _answers(test: Rows, yes: NDArray[np.bool_]) -> dict[str, object]:
    return {
        "flagged": int(yes.sum()),
        "accuracy": float((yes == test.labels).mean()),
        "accuracy_of_no": float(1 - test.labels.mean()),
        "rows": len(test.labels),
        "positives": int(test.labels.sum()),
    }


def _always_no(test: Rows, fit_rows: int) -> dict[str, object]:
    """Return the row of the answer that is right most often and of no use."""
    rate = float(test.labels.mean())
    return {
        **{"model": ALWAYS_NO, "handling": "none", "vectors": False, "chosen": False},
        **{"roc_auc": 0.5, "pr_auc": rate, "brier": rate, "ece": rate},
        **{"recall": 0.0, "f1": 0.0, "threshold": 1.0, "fit_rows": fit_rows, "seconds": 0.0},
        **_answers(test, np.zeros(len(test.labels), dtype=bool)),
    }


__all__ = ["ALWAYS_NO", "Rows", "chosen_of", "compare", "some_of"]
