"""Quality beside what the simulated shop's truth allows: the table of docs/quality.md.

Needs a demo (``make demo``). Then ``python -m bench.truth`` takes the rows on which the live
version was tested (features at the gate's cutoff, labels in the 90 days after) and compares that
version and its baselines with the chances that the labels were drawn with. It publishes nothing.
"""

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import pandas as pd
from catboost import CatBoost, Pool
from sqlalchemy import Engine

from bench.cdnow import dataset
from jobs import champion, evaluation, settings
from jobs.purchase_propensity import explanation, labels, model, training
from jobs.purchase_propensity.job import JOB
from jobs.simulate.job import world
from jobs.simulate.shop_truth import truth
from jobs.warehouse import engine

TRUTH, ALIVE, TAUGHT, OURS = "the truth", "who is alive", "taught by the truth", "ours"
TOLD = "ours, told who is alive"
HEADS = {"roc_auc": "ROC AUC", "pr_auc": "PR AUC"}
FOLDS = 3
TREES = {"iterations": 400, "depth": 6, "learning_rate": 0.05}


def scored(warehouse: Engine, simulator: Engine) -> tuple[date, pd.DataFrame]:
    """Return the live version's gate cutoff and, for each of its rows, label and chances.

    Columns are client_id, label, alive (bool, at the cutoff), and one of chances for each of
    the truth, who is alive, taught by the truth, ours told who is alive, ours, the baselines.
    """
    with warehouse.connect() as connection:
        live = champion.live_version(connection, JOB, date.max)
        if live is None:
            raise champion.NoLiveVersion(f"{JOB}: no version is live; run make demo first")
        cutoff = champion.described(connection, live)["gate_cutoff"]
        names = {live: OURS, **champion.baselines_beside(connection, live)}
    fitted = {
        name: model.load(champion.load_model(warehouse, version)) for version, name in names.items()
    }
    # Of older cutoffs only the teaching knows: more of the truth, not later rows.
    older = labels.CUTOFFS.to_fit(cutoff + timedelta(days=labels.HORIZON_DAYS))
    known = {day: _with_truth(warehouse, simulator, day) for day in (cutoff, *older)}
    rows = known[cutoff]
    chances = {
        name: model.score(each, rows)["probability"].to_numpy() for name, each in fitted.items()
    }
    alive = rows["alive"].to_numpy(dtype=bool)
    taught = {day: (explanation.features(fitted[OURS], each), each) for day, each in known.items()}
    return cutoff, pd.DataFrame(
        {
            "client_id": rows["client_id"],
            "label": rows["bought"].astype(int),
            "alive": alive,
            TRUTH: rows["truth"],
            ALIVE: alive.astype(float),
            TAUGHT: _taught(list(taught.values())),
            TOLD: chances[OURS] * alive,
            **chances,
        }
    )


def table(rows: pd.DataFrame) -> Iterator[str]:
    """Yield the lines of one table: figures of all clients, and ROC AUC among those alive."""
    names = list(rows.columns[3:])
    everyone = evaluation.intervals(rows["label"], {name: rows[name] for name in names})
    living = rows[rows["alive"]]
    apart = [name for name in names if name not in (ALIVE, TOLD)]
    among = evaluation.intervals(living["label"], {name: living[name] for name in apart})
    yield "| | " + " | ".join(HEADS.values()) + " | ROC AUC among those alive |"
    yield "|---|" + "---|" * (len(HEADS) + 1)
    for name in names:
        cells = [_cell(everyone[name][metric]) for metric in HEADS]
        cells.append(_cell(among[name]["roc_auc"]) if name in among else "")
        yield f"| {name} | " + " | ".join(cells) + " |"
    for other in (TRUTH, TAUGHT):
        gap = evaluation.difference(rows["label"], rows[other], rows[OURS])
        said = ", ".join(f"{HEADS[metric]} {_cell(gap[metric], '+')}" for metric in HEADS)
        yield f"\n{other} minus ours: {said}"


def _with_truth(warehouse: Engine, simulator: Engine, cutoff: date) -> pd.DataFrame:
    """Return the labelled rows of ``cutoff`` with ``alive`` and ``truth``, the true chance."""
    known_by = cutoff + timedelta(days=labels.HORIZON_DAYS)
    rows = dataset(warehouse, cutoff, known_by)
    rows = rows[rows["bought"].notna()]
    true = truth(world(simulator, known_by), cutoff, labels.HORIZON_DAYS)
    true = true[["client_id", "alive"]].assign(truth=true["probability"])
    return rows.merge(true, on="client_id", validate="one_to_one")


def _taught(parts: list[tuple[pd.DataFrame, pd.DataFrame]]) -> np.ndarray:
    """Return what trees make of each client's features that learned the true chances of others.

    The mean true chance of clients with the same features ranks best of all that features can;
    this comes near it from below.

    Args:
        parts: features and rows (client_id, truth) of each cutoff; the first one's are scored.
    """
    features, rows = parts[0]
    fold = rows["client_id"] % FOLDS
    learned = np.empty(len(rows))
    for out in range(FOLDS):
        others = [each["client_id"] % FOLDS != out for _, each in parts]
        pool = Pool(
            pd.concat([part[0][kept] for part, kept in zip(parts, others, strict=True)]),
            pd.concat([part[1]["truth"][kept] for part, kept in zip(parts, others, strict=True)]),
        )
        trees = CatBoost(
            {
                **TREES,
                "loss_function": "CrossEntropy",
                "random_seed": training.SEED,
                "thread_count": model.THREADS,
                "verbose": False,
                "allow_writing_files": False,
            }
        ).fit(pool)
        learned[fold == out] = trees.predict(features[fold == out], "Probability")[:, 1]
    return learned


def _cell(found: evaluation.Interval, sign: str = "") -> str:
    return f"{found.value:{sign}.4f} ({found.low:{sign}.4f} to {found.high:{sign}.4f})"


def main() -> None:
    """Print the table of the demo that the settings name."""
    cutoff, rows = scored(
        engine(settings.warehouse_url()), engine(settings.setting("NIGHTSHIFT_SIMULATOR_URL"))
    )
    print(
        f"\n## {cutoff}: {len(rows):,} clients, {rows['alive'].mean():.4f} of them alive, "
        f"{rows['label'].mean():.4f} bought\n"
    )
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
