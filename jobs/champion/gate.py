"""The gate: scores of champion, challenger and baselines on the same rows in, a verdict out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from jobs import evaluation


@dataclass(frozen=True)
class Gate:
    """What one job declares about how its models replace each other.

    Attributes:
        job: job.
        metric: primary metric: a name that `jobs.evaluation` knows or, with ``per_row``, any name.
        horizon_days: days until a label is final.
        margin: an old champion gives way to a challenger that is surely not worse by this much.
        max_age_days: age of the champion's training day from which it counts as old.
        cadence_days: days between two decisions.
        calibration_bound: largest expected calibration error; None where scores are not
            probabilities.
        unit: column that is resampled (client or user); it may repeat.
        floor: baseline that a model must always beat.
        per_row: the score columns hold the metric of each row already (one user's NDCG, say), and
            its mean is compared; no label is needed.
        higher_is_better: False for losses.
    """

    job: str
    metric: str
    horizon_days: int
    margin: float
    max_age_days: int
    cadence_days: int
    calibration_bound: float | None
    unit: str
    floor: str = "base_rate"
    per_row: bool = False
    higher_is_better: bool = True


@dataclass(frozen=True)
class Verdict:
    """What the gate says: the version that should serve, and why."""

    winner: str
    reason: str
    figures: dict[str, Any]


def judge(
    gate: Gate,
    scores: pd.DataFrame,
    challenger: str,
    baselines: Mapping[str, str],
    champion: str | None = None,
    champion_age_days: int = 0,
) -> Verdict:
    """Return which version should serve.

    The challenger replaces the champion if the paired interval of its gain lies above zero, or if
    the champion is older than ``max_age_days`` and the interval's lower end is above ``-margin``.
    Always, its interval over the floor must lie above zero and its calibration error within the
    bound. Without a champion the best baseline stands in for a challenger that fails.

    Args:
        gate: the job's settings.
        scores: the gate's rows: the unit column, ``label`` (0 or 1, unless per_row) and one column
            of scores for each version, named by it.
        challenger: version that wants to serve.
        baselines: version and name of each baseline; the floor is among them.
        champion: version that serves now.
        champion_age_days: days since the day that the champion was trained for.

    Raises:
        ValueError: if rows, columns or scores are missing.
    """
    floor = _floor(gate, baselines)
    compared = [challenger, *baselines, *([champion] if champion else [])]
    compared = list(dict.fromkeys(compared))
    _require(gate, scores, compared)
    figures: dict[str, Any] = {
        "metric": gate.metric,
        "challenger": challenger,
        "champion": champion,
        "champion_age_days": champion_age_days if champion else None,
        "rows": len(scores),
        "units": int(scores[gate.unit].nunique()),
        "margin": gate.margin,
        "max_age_days": gate.max_age_days,
        "calibration_bound": gate.calibration_bound,
    }
    if champion == challenger:
        return Verdict(challenger, f"{challenger} is live already", figures)
    if not gate.per_row:
        figures["positives"] = int(scores["label"].sum())
        if figures["positives"] in (0, len(scores)):
            stays = champion or floor
            reason = f"all {len(scores)} rows have label {int(scores['label'].iloc[0])}"
            return Verdict(stays, f"{reason}: no test is possible; {stays} serves", figures)

    figures["values"] = {version: _value(gate, scores, version) for version in compared}
    over_floor = _gain(gate, scores, challenger, floor)
    figures["gain_over_floor"] = over_floor
    within, calibration = _calibration(gate, scores, compared, challenger)
    figures["calibration_errors"] = calibration
    beats_floor = over_floor["low"] > 0
    failed = []
    if not beats_floor:
        failed.append(f"{gate.metric} {_text(over_floor)} over {gate.floor} is not above zero")
    if not within:
        failed.append(
            f"calibration error {calibration[challenger]:.4f} is over the bound "
            f"{gate.calibration_bound}"
            + (f" (the champion's is {calibration[champion]:.4f})" if champion else "")
        )

    if champion is None:
        if not failed:
            return Verdict(
                challenger,
                f"no champion; {gate.metric} {_text(over_floor)} over {gate.floor}",
                figures,
            )
        best = _best_baseline(gate, figures["values"], calibration, baselines, floor)
        return Verdict(best, f"no champion; {'; '.join(failed)}; {best} stands in", figures)

    gain = _gain(gate, scores, challenger, champion)
    figures["gain"] = gain
    old = champion_age_days > gate.max_age_days
    said = f"{gate.metric} {_text(gain)} over {champion}"
    if failed:
        return Verdict(champion, f"{said}; {'; '.join(failed)}", figures)
    if gain["low"] > 0:
        return Verdict(challenger, f"{said}: better", figures)
    if old and gain["low"] > -gate.margin:
        age = f"the champion is {champion_age_days} days old (at most {gate.max_age_days})"
        return Verdict(challenger, f"{said}: {age} and not better by {gate.margin}", figures)
    if old:
        return Verdict(
            champion,
            f"{said}: the champion is {champion_age_days} days old (at most {gate.max_age_days}), "
            f"but the challenger may be worse by {gate.margin} or more",
            figures,
        )
    return Verdict(champion, f"{said}: not surely better", figures)


def _floor(gate: Gate, baselines: Mapping[str, str]) -> str:
    for version, name in baselines.items():
        if name == gate.floor:
            return version
    raise ValueError(
        f"{gate.job}: no baseline {gate.floor} among {sorted(baselines.values())}; "
        "score it on the gate's rows as well"
    )


def _require(gate: Gate, scores: pd.DataFrame, compared: list[str]) -> None:
    """Raise where the gate's rows can't carry a decision."""
    wanted = [gate.unit, *compared] + ([] if gate.per_row else ["label"])
    if missing := [name for name in wanted if name not in scores]:
        raise ValueError(
            f"{gate.job}: the gate's rows lack {missing}, they have {list(scores.columns)}; "
            "score champion, challenger and baselines on the same rows"
        )
    if scores.empty:
        raise ValueError(f"{gate.job}: 0 rows for the gate; is the cutoff before the first day?")
    if broken := [name for name in wanted if scores[name].isna().any()]:
        nulls = int(scores[broken[0]].isna().sum())
        raise ValueError(f"{gate.job}: {nulls} of {len(scores)} gate rows have no {broken[0]}")
    if not gate.per_row and not scores["label"].isin([0, 1]).all():
        raise ValueError(f"{gate.job}: label must be 0 or 1, found {scores['label'].unique()[:5]}")


def _best_baseline(
    gate: Gate,
    values: Mapping[str, float],
    calibration: Mapping[str, float],
    baselines: Mapping[str, str],
    floor: str,
) -> str:
    """Return the best baseline whose calibration is within bounds, else the floor."""
    bound = np.inf if gate.calibration_bound is None else gate.calibration_bound
    sound = [version for version in baselines if calibration.get(version, 0.0) <= bound]
    sign = 1 if gate.higher_is_better else -1
    return max(sorted(sound), key=lambda version: sign * values[version], default=floor)


def _text(gain: Mapping[str, float]) -> str:
    return f"{gain['value']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]"


def _value(gate: Gate, scores: pd.DataFrame, version: str) -> float:
    if gate.per_row:
        return float(scores[version].mean())
    return float(getattr(evaluation, gate.metric)(scores["label"], scores[version]))


def _gain(gate: Gate, scores: pd.DataFrame, first: str, second: str) -> dict[str, float]:
    rng = np.random.default_rng(7)
    sign = 1 if gate.higher_is_better else -1
    value = sign * (_value(gate, scores, first) - _value(gate, scores, second))
    draws = []
    groups = list(scores.groupby(gate.unit).indices.values())
    for _ in range(200):
        sample = scores.iloc[
            np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])
        ]
        draws.append(sign * (_value(gate, sample, first) - _value(gate, sample, second)))
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"value": value, "low": float(low), "high": float(high)}


def _calibration(
    gate: Gate, scores: pd.DataFrame, compared: list[str], challenger: str
) -> tuple[bool, dict[str, float]]:
    """Return whether the challenger's calibration is within bounds, and all errors."""
    if gate.calibration_bound is None:
        return True, {}
    errors = {
        version: float(evaluation.calibration_error(scores["label"], scores[version]))
        for version in compared
    }
    return errors[challenger] <= gate.calibration_bound, errors
