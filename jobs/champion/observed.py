"""Quality in ops.evaluation: at the gate, and again once what was predicted has happened."""

from collections.abc import Callable, Mapping
from datetime import date

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine

from jobs import evaluation, warehouse
from jobs.champion.gate import Gate, mean_samples

COLUMNS = ["metric", "value", "low", "high"]
Figure = tuple[str, float, float | None, float | None]


class NothingToCompare(ValueError):
    """A published day has no rows to compare with what happened."""


def measure(
    gate: Gate, scores: pd.DataFrame, names: Mapping[str, str], yes: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the quality of each version on the gate's rows, with 95 % intervals.

    Args:
        gate: the job's settings.
        scores: the gate's rows, see `jobs.champion.gate.judge`.
        names: versions to measure (columns of ``scores``) and what they are called beside each
            other: 'model', 'base_rate' ...
        yes: to whom each version says yes, one column per version; precision, recall and f1 then
            stand beside the other metrics.

    Returns:
        model_version, name, metric, value, low, high, rows; one row per version and metric.
    """
    if gate.per_row:
        samples = mean_samples(scores, list(names), gate.unit)
        ends = {version: np.quantile(drawn, [0.025, 0.975]) for version, drawn in samples.items()}
        found = [(v, gate.metric, scores[v].mean(), *ends[v]) for v in names]
    else:
        columns = {version: scores[version].to_numpy() for version in names}
        measured = evaluation.intervals(scores["label"], columns, scores[gate.unit])
        found = [
            (version, metric, figure.value, figure.low, figure.high)
            for version, figures in measured.items()
            for metric, figure in figures.items()
        ]
    if yes is not None:
        for version in names:
            answered = _answered(scores["label"], yes[version], scores[gate.unit])
            found += [(version, *row) for row in answered]
    frame = pd.DataFrame(found, columns=["model_version", *COLUMNS])
    frame.insert(1, "name", frame["model_version"].map(dict(names)))
    return frame.assign(rows=len(scores))


def record_evaluation(
    connection: Connection, job: str, as_of: date, stage: str, measured: pd.DataFrame
) -> None:
    """Keep measured quality in ops.evaluation; measuring again replaces it.

    Args:
        connection: the warehouse, in the caller's transaction.
        job: job.
        as_of: the run that measured (stage gate) or the published day (stage matured).
        stage: 'gate' or 'matured'.
        measured: columns model_version, name, metric, value, low, high, rows.
    """
    for row in measured.to_dict("records"):
        ends = {
            end: None if pd.isna(row[end]) else float(row[end]) for end in ("value", "low", "high")
        }
        warehouse.execute(
            connection,
            "champion/upsert_evaluation.sql",
            job=job,
            as_of=as_of,
            model_version=row["model_version"],
            name=row["name"],
            stage=stage,
            metric=row["metric"],
            rows=int(row["rows"]),
            **ends,
        )


def mature(
    engine: Engine,
    job: str,
    table_name: str,
    as_of: date,
    horizon_days: int,
    labelled: Callable[[date], pd.DataFrame],
    measured_by: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
) -> list[date]:
    """Compare each published day whose labels are complete by ``as_of`` with what happened.

    A day is compared once for each version that made its rows: one published anew is compared
    anew. Kept are the metrics of `jobs.evaluation` (where both labels occur) and predicted_rate
    beside observed_rate.

    Args:
        engine: the warehouse.
        job: job.
        table_name: result table, with its schema.
        as_of: day of the run.
        horizon_days: days until a label is final.
        labelled: gives a published day's rows: label (0 or 1) and the published ``score``; where
            the job says yes or no also ``flagged`` and client_id; of another chance ``x`` also
            label_x and score_x (NaN where there is nothing to say), whose metrics begin with x_.
        measured_by: gives metric, value, low, high of such rows, where they are no labels and
            scores.

    Returns:
        The days compared, oldest first.

    Raises:
        NothingToCompare: if a published day has no labelled rows.
    """
    with engine.connect() as connection:
        days = warehouse.rows(
            connection,
            warehouse.sql_file("champion/maturing_days.sql"),
            table_name=table_name,
            as_of=as_of,
            horizon_days=horizon_days,
        )
    for day in days:
        frame = labelled(day["as_of"])
        if frame.empty:
            raise NothingToCompare(
                f"{table_name} {day['as_of']}: 0 rows to compare with what happened, though "
                "the day is published; were its partition or the raw days after it removed?"
            )
        measured = (measured_by or _observed)(frame).assign(
            model_version=day["model_version"], name="published", rows=len(frame)
        )
        with engine.begin() as connection:
            record_evaluation(connection, job, day["as_of"], "matured", measured)
    return [day["as_of"] for day in days]


def _answered(
    labels: pd.Series, yes: pd.Series, units: pd.Series
) -> list[tuple[str, float, float, float]]:
    """Return metric, value, low and high of yeses; none that is undefined."""
    figures = evaluation.yes_or_no(labels, yes.to_numpy(dtype=bool), units)
    return [
        (name, one.value, one.low, one.high)
        for name, one in figures.items()
        if not np.isnan(one.value)
    ]


def _came_true(labels: pd.Series, scores: pd.Series) -> list[Figure]:
    """Return metric, value, low and high of one published chance."""
    found: list[Figure] = [
        ("predicted_rate", float(scores.mean()), None, None),
        ("observed_rate", float(labels.mean()), None, None),
    ]
    if labels.nunique() == 2:
        figures = evaluation.intervals(labels, {"published": scores})["published"]
        found += [(name, one.value, one.low, one.high) for name, one in figures.items()]
    return found


def _observed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return metric, value, low, high of one published day."""
    found = _came_true(frame["label"], frame["score"])
    for column in [name for name in frame.columns if name.startswith("label_")]:
        other = column.removeprefix("label_")
        known = frame[[column, f"score_{other}"]].dropna()
        figures = _came_true(known[column], known[f"score_{other}"]) if len(known) else []
        found += [(f"{other}_{name}", value, low, high) for name, value, low, high in figures]
    if "flagged" in frame:
        found += _answered(frame["label"], frame["flagged"], frame["client_id"])
    return pd.DataFrame(found, columns=COLUMNS)
