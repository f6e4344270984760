"""Quality on real purchases: the table of docs/cdnow.md.

Needs the file loaded before (``make load DIR=.../cdnow``). Then ``python -m bench.cdnow [DAY ...]``
fits the model and the baselines as the nightly job would have on each day, scores every client
known then, and compares with what they did in the 90 days after. It publishes nothing.
"""

import sys
from collections.abc import Iterator
from datetime import date, timedelta

import pandas as pd
from sqlalchemy import Engine

from jobs import evaluation, settings
from jobs.client_scores.slices import labelled, split
from jobs.purchase_propensity import baselines, labels, model, training
from jobs.purchase_propensity.job import TRIALS
from jobs.warehouse import engine, read_sql

DAYS = (date(1998, 4, 1), date(1997, 10, 1))
OURS = "ours"
HEADS = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "brier": "Brier",
    "ece": "calibration error",
    "lift": "top-decile lift",
}


def dataset(warehouse: Engine, cutoff: date, known_by: date) -> pd.DataFrame:
    """Return the dataset of ``cutoff``, with labels as far as complete at ``known_by``."""
    return read_sql(
        warehouse,
        "purchase_propensity/dataset.sql",
        as_of=cutoff,
        horizon_days=labels.HORIZON_DAYS,
        known_by=known_by,
        shard=0,
        shards=1,
    )


def scored(warehouse: Engine, as_of: date) -> tuple[pd.Series, dict[str, pd.Series]]:
    """Return what clients did after ``as_of`` and each version's probabilities for it."""
    gate = labels.CUTOFFS.gate(as_of)
    fitting = {day: dataset(warehouse, day, gate) for day in labels.CUTOFFS.to_fit(as_of)}
    slices = split({day: rows for day, rows in fitting.items() if len(rows)}, labels.LABEL)
    fitted = {
        OURS: training.fit(slices, training.tune(slices, TRIALS)),
        **baselines.fit_all(slices),
    }
    newest = {day: dataset(warehouse, day, as_of) for day in labels.CUTOFFS.of_level(as_of)}
    rows = labelled(newest, labels.LABEL)
    clients = dataset(warehouse, as_of, as_of + timedelta(days=labels.HORIZON_DAYS))
    chances = {
        name: model.score(each, clients, training.calibrate(each, rows, clients))["probability"]
        for name, each in fitted.items()
    }
    return clients["bought"], chances


def tables(as_of: date, labels: pd.Series, chances: dict[str, pd.Series]) -> Iterator[str]:
    """Yield the lines of the day's two tables: figures, and differences to each baseline."""
    yield f"\n## {as_of}: {len(labels):,} clients, {labels.mean():.4f} of them bought\n"
    yield "| | " + " | ".join(HEADS.values()) + " |"
    yield "|---|" + "---|" * len(HEADS)
    for name, figures in evaluation.intervals(labels, chances).items():
        yield _line(name, figures, "")
    yield "\n| ours minus | " + " | ".join(HEADS.values()) + " |"
    yield "|---|" + "---|" * len(HEADS)
    for name in baselines.NAMES:
        yield _line(name, evaluation.difference(labels, chances[OURS], chances[name]), "+")


def _line(name: str, figures: dict[str, evaluation.Interval], sign: str) -> str:
    cells = [
        f"{each.value:{sign}.4f} ({each.low:{sign}.4f} to {each.high:{sign}.4f})"
        for each in (figures[metric] for metric in HEADS)
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def main(days: list[str]) -> None:
    """Print the tables of these days, by default DAYS."""
    warehouse = engine(settings.setting("AIRFLOW_CONN_WAREHOUSE"))
    for as_of in [date.fromisoformat(day) for day in days] or DAYS:
        print("\n".join(tables(as_of, *scored(warehouse, as_of))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
