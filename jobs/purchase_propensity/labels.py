"""The labels to learn from: complete at their cutoffs, and no client's in two slices."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.calibration import NothingToLearnFrom

HORIZON_DAYS = 90
# Label windows of one gate, one fit: the newest fitting cutoff is two horizons before as_of.
CUTOFFS = 4
CUTOFF_STEP_DAYS = 30
# The level is forecast from the newest complete labels.
LEVEL_CUTOFFS = 3
LEVEL_STEP_DAYS = 15
TRAIN_PERCENT, VALIDATION_PERCENT = 70, 15  # of clients; the rest calibrates


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


def _percent(clients: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return 0 to 99 for each client, at random but always the same (splitmix64)."""
    bits = clients.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (bits ^ (bits >> np.uint64(31))) % np.uint64(100)
