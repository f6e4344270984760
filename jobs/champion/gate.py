"""The gate: scores of champion, challenger and baselines on the same rows in, a verdict out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs import evaluation

SEED = 7
# Chances off by half the base rate are of no use, however small that is.
BOUND_OF_RATE = 0.5
TAIL = (1 - evaluation.CONFIDENCE) / 2

Numbers = NDArray[np.float64]


class GateRowsUnfit(ValueError):
    """The rows can't carry a decision: they are none, or lack scores or labels."""


@dataclass(frozen=True)
class Gate:
    """What one job declares about how its models replace each other.

    Attributes:
        job: job.
        metric: primary metric: one of `jobs.evaluation.METRICS` or, with ``per_row``, any name.
        horizon_days: days until a label is final.
        margin: an old champion gives way to a challenger that is surely not worse by this much.
        max_age_days: age of the champion's training day from which it counts as old.
        cadence_days: days between two decisions.
        calibration_bound: expected calibration error that must not surely be exceeded, and never
            more than half the observed rate; None where scores are not probabilities.
        unit: column that is resampled (client or user); it may repeat.
        floor: baseline that a model must always beat; with ``per_row`` also the one that stands in
            for a model that fails where there is no champion.
        per_row: the score columns hold the metric of each row already (one user's NDCG, say), and
            its mean is compared; no label is needed.
        higher_is_better: False for losses per row; `jobs.evaluation` knows its own metrics.
        least_units: fewer units than these decide nothing: an interval of five users says little.
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
    least_units: int = 0


def higher_is_better(gate: Gate) -> bool:
    """Return whether more of the primary metric is better."""
    return evaluation.HIGHER_IS_BETTER.get(gate.metric, gate.higher_is_better)


@dataclass(frozen=True)
class Said:
    """To whom the versions say yes.

    Attributes:
        yes: one column of bool per version, rows as those of the scores.
        least_precision: the share of them that is right at least, as promised; None without a
            promise.
    """

    yes: pd.DataFrame
    least_precision: float | None = None


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
    said: Said | None = None,
    guards: Mapping[str, pd.DataFrame] | None = None,
) -> Verdict:
    """Return which version should serve.

    The challenger replaces the champion if the paired interval of its gain lies above zero, or if
    the champion is older than ``max_age_days`` and the interval's lower end is above ``-margin``.
    Always, its interval over the floor must lie above zero, and the interval of its calibration
    error must not lie above the bound: few clients show an error by chance, however true the
    probabilities are. Without a champion the best baseline stands in for a challenger that fails;
    and so does the floor in place of a champion that is surely worse than it.

    Where versions say yes or no, one that finds no positive, or whose precision is surely less than
    promised, fails as well; and so does one whose loss by a guard is surely more than that of the
    champion (without one, of the floor).

    Args:
        gate: the job's settings.
        scores: the gate's rows: the unit column, ``label`` (0 or 1, unless per_row) and one column
            of scores for each version, named by it.
        challenger: version that wants to serve.
        baselines: version and name of each baseline; the floor is among them.
        champion: version that serves now.
        champion_age_days: days since the day that the champion was trained for.
        said: to whom each version says yes, for a job that says so.
        guards: by name, rows of what else is foretold: the unit column and, for each version, the
            loss of each row.

    Raises:
        GateRowsUnfit: if rows, columns or scores are missing.
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
    }
    if champion == challenger:
        return Verdict(challenger, f"{challenger} is live already", figures)
    if figures["units"] < gate.least_units:
        stays = champion or floor
        reason = f"{figures['units']} {gate.unit}s of at least {gate.least_units}"
        return Verdict(stays, f"{reason}: no test is possible; {stays} serves", figures)
    if not gate.per_row:
        figures["positives"] = int(scores["label"].sum())
        if figures["positives"] in (0, len(scores)):
            stays = champion or floor
            reason = f"all {len(scores)} rows have label {int(scores['label'].iloc[0])}"
            return Verdict(stays, f"{reason}: no test is possible; {stays} serves", figures)

    values = _values(gate, scores, compared)
    primary = {version: found[gate.metric] for version, found in values.items()}
    figures["values"] = primary
    drawn = _drawn(gate, scores, [challenger, floor, *([champion] if champion else [])])
    over_floor = figures["gain_over_floor"] = _gain(gate, drawn, primary, challenger, floor)
    failed = []
    if not over_floor["low"] > 0:
        failed.append(f"{gate.metric} {_text(over_floor)} over {gate.floor} is not above zero")
    bound = np.inf
    if gate.calibration_bound is not None:
        bound = min(gate.calibration_bound, BOUND_OF_RATE * figures["positives"] / len(scores))
        figures["calibration_bound"] = bound
        figures["calibration_errors"] = {each: found["ece"] for each, found in values.items()}
        error = values[challenger]["ece"]
        figures["calibration_low"] = low = _calibration_low(error, drawn[challenger])
        if low > bound:
            beside = f" (the champion's is {values[champion]['ece']:.4f})" if champion else ""
            failed.append(
                f"calibration error {error:.4f}{beside}, surely {low:.4f} or more, is over the "
                f"bound {bound:.4f}"
            )

    if said is not None:
        answers = figures["answers"] = _answers(gate, scores, said, compared)
        failed += _failed(answers[challenger], said)

    for name, losses in (guards or {}).items():
        beside = champion or floor
        gain = _guarded(losses, gate.unit, challenger, beside)
        figures.setdefault("guards", {})[name] = gain
        if gain["high"] < 0:
            failed.append(f"{name} {_text(gain)} over {beside} is surely worse")

    if champion is None:
        if not failed:
            return Verdict(
                challenger,
                f"no champion; {gate.metric} {_text(over_floor)} over {gate.floor}",
                figures,
            )
        sound = list(baselines)
        if gate.calibration_bound is not None:
            drawn = _drawn(gate, scores, sound)
            sound = [
                version
                for version in sound
                if _calibration_low(values[version]["ece"], drawn[version]) <= bound
            ]
        if said is not None:
            sound = [version for version in sound if not _failed(answers[version], said)]
        # Of lists, the job has named the best one: it knows more of them than this metric says.
        best = floor if gate.per_row else _best(gate, primary, sound) or floor
        return Verdict(best, f"no champion; {'; '.join(failed)}; {best} stands in", figures)

    gain = figures["gain"] = _gain(gate, drawn, primary, challenger, champion)
    old = champion_age_days > gate.max_age_days
    gained = f"{gate.metric} {_text(gain)} over {champion}"
    if failed:
        fallen = figures["champion_over_floor"] = _gain(gate, drawn, primary, champion, floor)
        if fallen["high"] < 0:
            worse = f"the champion is worse than {gate.floor}, {gate.metric} {_text(fallen)}"
            return Verdict(floor, f"{gained}; {'; '.join(failed)}; {worse}", figures)
        return Verdict(champion, f"{gained}; {'; '.join(failed)}", figures)
    if gain["low"] > 0:
        return Verdict(challenger, f"{gained}: better", figures)
    if old and gain["low"] > -gate.margin:
        age = f"the champion is {champion_age_days} days old (at most {gate.max_age_days})"
        return Verdict(challenger, f"{gained}: {age} and not better by {gate.margin}", figures)
    if old:
        return Verdict(
            champion,
            f"{gained}: the champion is {champion_age_days} days old (at most "
            f"{gate.max_age_days}), but the challenger may be worse by {gate.margin} or more",
            figures,
        )
    return Verdict(champion, f"{gained}: not surely better", figures)


def _floor(gate: Gate, baselines: Mapping[str, str]) -> str:
    for version, name in baselines.items():
        if name == gate.floor:
            return version
    raise GateRowsUnfit(
        f"{gate.job}: no baseline {gate.floor} among {sorted(baselines.values())}; "
        "score it on the gate's rows as well"
    )


def _require(gate: Gate, scores: pd.DataFrame, compared: list[str]) -> None:
    """Raise where the gate's rows can't carry a decision."""
    wanted = [gate.unit, *compared] + ([] if gate.per_row else ["label"])
    if missing := [name for name in wanted if name not in scores]:
        raise GateRowsUnfit(
            f"{gate.job}: the gate's rows lack {missing}, they have {list(scores.columns)}; "
            "score champion, challenger and baselines on the same rows"
        )
    if scores.empty and not gate.least_units:
        raise GateRowsUnfit(f"{gate.job}: 0 rows for the gate; is the cutoff before the first day?")
    if broken := [name for name in wanted if scores[name].isna().any()]:
        nulls = int(scores[broken[0]].isna().sum())
        raise GateRowsUnfit(f"{gate.job}: {nulls} of {len(scores)} gate rows have no {broken[0]}")
    if not gate.per_row and not scores["label"].isin([0, 1]).all():
        raise GateRowsUnfit(
            f"{gate.job}: label must be 0 or 1, found {scores['label'].unique()[:5]}"
        )


def _best(gate: Gate, values: Mapping[str, float], versions: list[str]) -> str | None:
    """Return the best version by the primary metric, ties by name."""
    sign = 1 if higher_is_better(gate) else -1
    return max(sorted(versions), key=lambda version: sign * values[version], default=None)


def _text(gain: Mapping[str, float]) -> str:
    return f"{gain['value']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]"


def _values(gate: Gate, scores: pd.DataFrame, versions: list[str]) -> dict[str, dict[str, float]]:
    """Return each version's figures by name; those of the gate's metric are among them."""
    if gate.per_row:
        return {version: {gate.metric: float(scores[version].mean())} for version in versions}
    return {version: evaluation.metrics(scores["label"], scores[version]) for version in versions}


def _gain(
    gate: Gate,
    drawn: Mapping[str, pd.DataFrame],
    values: Mapping[str, float],
    new: str,
    old: str,
) -> dict[str, float]:
    """Return by how much ``new`` is better than ``old``, with the paired interval."""
    sign = 1 if higher_is_better(gate) else -1
    gains = sign * (drawn[new][gate.metric] - drawn[old][gate.metric]).to_numpy()
    low, high = np.nanquantile(gains, [TAIL, 1 - TAIL])
    return {"value": sign * (values[new] - values[old]), "low": float(low), "high": float(high)}


def _guarded(losses: pd.DataFrame, unit: str, new: str, old: str) -> dict[str, float]:
    """Return by how much less ``new`` loses than ``old``, with the paired interval."""
    drawn = mean_samples(losses, [new, old], unit)
    low, high = np.quantile(drawn[old] - drawn[new], [TAIL, 1 - TAIL])
    value = float((losses[old] - losses[new]).mean())
    return {"value": value, "low": float(low), "high": float(high)}


def _answers(
    gate: Gate, scores: pd.DataFrame, said: Said, versions: list[str]
) -> dict[str, dict[str, float | None]]:
    """Return precision and recall of each version's yeses, precision's upper end with them."""
    found: dict[str, dict[str, float | None]] = {}
    for version in versions:
        yes = said.yes[version].to_numpy(dtype=bool)
        figures = evaluation.yes_or_no(scores["label"], yes, scores[gate.unit])
        kept = {name: each.value for name, each in figures.items()}
        kept |= {"precision_high": figures["precision"].high, "yes": float(yes.sum())}
        found[version] = {name: None if np.isnan(v) else v for name, v in kept.items()}
    return found


def _failed(answers: Mapping[str, float | None], said: Said) -> list[str]:
    """Return what is wrong with a version's yeses."""
    if not answers["recall"]:
        return [f"it says yes to {answers['yes']:.0f} rows and finds no positive"]
    high, least = answers["precision_high"], said.least_precision
    if least is not None and high is not None and high < least:
        seen = f"precision {answers['precision']:.3f}, surely {high:.3f} or less"
        return [f"{seen}, where {least} is promised"]
    return []


def _calibration_low(error: float, drawn: pd.DataFrame) -> float:
    """Return the lower end of the calibration error's basic bootstrap interval.

    Basic, not percentile: an absolute error grows with the noise of the sample and again with that
    of the resampling, and mirroring the draws at the estimate takes that off.
    """
    high = float(np.nanquantile(drawn["ece"], 1 - TAIL))
    return max(0.0, 2 * error - high)


def _drawn(gate: Gate, scores: pd.DataFrame, versions: list[str]) -> dict[str, pd.DataFrame]:
    """Return each version's figures in the same bootstrap samples of units."""
    if gate.per_row:
        means = mean_samples(scores, versions, gate.unit)
        return {version: pd.DataFrame({gate.metric: drawn}) for version, drawn in means.items()}
    columns = {version: scores[version].to_numpy() for version in versions}
    return evaluation.resample(scores["label"], columns, scores[gate.unit])


def mean_samples(scores: pd.DataFrame, columns: list[str], unit: str) -> dict[str, Numbers]:
    """Return each column's mean in the same bootstrap samples of ``unit``, with all their rows."""
    totals = scores.groupby(unit)[columns].sum().to_numpy(dtype=float)
    counts = scores.groupby(unit).size().to_numpy(dtype=float)
    random = np.random.default_rng(SEED)
    means = np.empty((evaluation.RESAMPLES, len(columns)))
    for draw in range(evaluation.RESAMPLES):
        weights = np.bincount(random.integers(0, len(counts), len(counts)), minlength=len(counts))
        means[draw] = weights @ totals / (weights @ counts)
    return {column: means[:, place] for place, column in enumerate(columns)}
