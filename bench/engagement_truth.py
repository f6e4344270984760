"""Engagement beside what the simulated shop's truth allows: the table of docs/engagement.md.

Needs a demo (``make demo``). Then ``python -m bench.engagement_truth`` takes the rows on which the
live version was tested (features at the gate's cutoff, clicks in the 14 days after) and compares
that version and its baselines with the chances that the clicks were drawn with. It publishes
nothing.
"""

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from jobs import champion, evaluation, settings
from jobs.client_engagement import labels, model
from jobs.client_engagement.job import DECLARED, JOB
from jobs.client_scores.threshold import Threshold, says_yes
from jobs.evaluation import Interval
from jobs.simulate.job import world
from jobs.simulate.shop_truth import engagement
from jobs.warehouse import engine

TRUTH, OURS = "the truth", "ours"
HEADS = {"roc_auc": "ROC AUC", "pr_auc": "PR AUC", "ece": "Calibration error"}


def scored(warehouse: Engine, simulator: Engine) -> tuple[date, pd.DataFrame, Threshold]:
    """Return the live version's gate cutoff, its rows, and its threshold.

    The rows have client_id, label, alive, and one column of chances for the truth, ours and each
    baseline.
    """
    with warehouse.connect() as connection:
        live = champion.live_version(connection, JOB, date.max)
        if live is None:
            raise champion.NoLiveVersion(f"{JOB}: no version is live; run make demo first")
        cutoff = champion.described(connection, live)["gate_cutoff"]
        names = {live: OURS, **champion.baselines_beside(connection, live)}
    known_by = cutoff + timedelta(days=labels.HORIZON_DAYS)
    rows = DECLARED.dataset(warehouse, cutoff, known_by)
    true = engagement(world(simulator, known_by), cutoff, labels.HORIZON_DAYS)
    true = true.rename(columns={"probability": TRUTH})
    rows = rows.merge(true, on="client_id", validate="one_to_one")
    fitted = {
        name: model.load(champion.load_model(warehouse, version)) for version, name in names.items()
    }
    chances = {name: model.probabilities(each, rows) for name, each in fitted.items()}
    found = rows[["client_id", "alive", TRUTH]].assign(label=rows[labels.LABEL], **chances)
    return cutoff, found, fitted[OURS].threshold


def table(rows: pd.DataFrame, threshold: Threshold) -> Iterator[str]:
    """Yield the lines of the table, and what came of the promise."""
    names = [TRUTH, *(name for name in rows if name not in (TRUTH, "client_id", "alive", "label"))]
    figures = evaluation.intervals(rows["label"], {name: rows[name] for name in names})
    yes = says_yes(threshold, rows[OURS])
    by_chance = np.random.default_rng(7).permutation(len(rows))
    yield "| | " + " | ".join(HEADS.values()) + " | Precision of as many | Recall |"
    yield "|---|" + "---|" * (len(HEADS) + 2)
    for name in names:
        # The same number of clients for everybody, so that precision can be compared.
        order = np.lexsort((by_chance, -rows[name].to_numpy()))
        named = np.zeros(len(rows), dtype=bool)
        named[order[: int(yes.sum())]] = True
        answers = evaluation.yes_or_no(rows["label"], named)
        cells = [figures[name][metric] for metric in HEADS]
        cells += [answers["precision"], answers["recall"]]
        yield f"| {name} | " + " | ".join(map(_cell, cells)) + " |"
    gap = evaluation.difference(rows["label"], rows[TRUTH], rows[OURS])
    said = ", ".join(f"{HEADS[metric]} {_cell(gap[metric], '+')}" for metric in HEADS)
    yield f"\n{TRUTH} minus ours: {said}"
    observed = evaluation.yes_or_no(rows["label"], yes)["precision"]
    promised = Interval(threshold.precision, threshold.precision_low, threshold.precision_high)
    yield (
        f"\n{threshold.aim}: {int(yes.sum()):,} named; precision promised {_cell(promised)}, "
        f"observed {_cell(observed)}, true {rows.loc[yes, TRUTH].mean():.4f}"
    )


def _cell(found: Interval, sign: str = "") -> str:
    return f"{found.value:{sign}.4f} ({found.low:{sign}.4f} to {found.high:{sign}.4f})"


def main() -> None:
    """Print the table of the demo that the settings name."""
    simulator = engine(settings.setting("NIGHTSHIFT_SIMULATOR_URL"))
    cutoff, rows, threshold = scored(engine(settings.warehouse_url()), simulator)
    clicked = rows["label"].mean()
    print(f"\n## {cutoff}: {len(rows):,} clients, {clicked:.4f} of them clicked\n")
    print("\n".join(table(rows, threshold)))


if __name__ == "__main__":
    main()
