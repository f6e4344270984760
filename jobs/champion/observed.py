"""Quality in ops.evaluation: at the gate, and again once what was predicted has happened."""

from collections.abc import Callable
from datetime import date

import pandas as pd
from sqlalchemy import Connection, Engine

from jobs import warehouse

# label and score of each row in; columns metric, value, low, high out
Measure = Callable[["pd.Series[int]", "pd.Series[float]"], pd.DataFrame]


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
    measure: Measure,
) -> list[date]:
    """Compare each published day whose labels are complete by ``as_of`` with what happened.

    A day is compared once for each version that made its rows: one published anew is compared
    anew. Beside ``measure``'s metrics, predicted_rate and observed_rate are kept.

    Args:
        engine: the warehouse.
        job: job.
        table_name: result table, with its schema.
        as_of: day of the run.
        horizon_days: days until a label is final.
        labelled: gives a published day's rows: label and the published ``score``.
        measure: gives the metrics of those rows.

    Returns:
        The days compared, oldest first.

    Raises:
        ValueError: if a published day has no labelled rows.
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
            raise ValueError(
                f"{table_name} {day['as_of']}: 0 rows to compare with what happened, though "
                "the day is published; were its partition or the raw days after it removed?"
            )
        rates = pd.DataFrame(
            {
                "metric": ["predicted_rate", "observed_rate"],
                "value": [frame["score"].mean(), frame["label"].mean()],
                "low": None,
                "high": None,
            }
        )
        measured = pd.concat([measure(frame["label"], frame["score"]), rates])
        measured = measured.assign(
            model_version=day["model_version"], name="published", rows=len(frame)
        )
        with engine.begin() as connection:
            record_evaluation(connection, job, day["as_of"], "matured", measured)
    return [day["as_of"] for day in days]
