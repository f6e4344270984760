"""The labels to learn from: complete at their cutoffs, and no client's in two slices."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.calibration import NothingToLearnFrom

TRAIN_PERCENT, VALIDATION_PERCENT = 70, 15  # of clients; the rest calibrates


@dataclass(frozen=True)
class Slices:
    """Rows to fit on: clients are in one slice only, so no client's labels are in two."""

    train: pd.DataFrame
    validation: pd.DataFrame
    calibration: pd.DataFrame


@dataclass(frozen=True)
class Cutoffs:
    """The days whose rows a job learns from, counted back from the day it trains for.

    Attributes:
        horizon_days: length of the label's window.
        fitting: how many cutoffs are fitted on.
        fitting_step_days: days between them.
        level: how many of the newest complete ones settle the level of the scores.
        level_step_days: days between those.
    """

    horizon_days: int
    fitting: int
    fitting_step_days: int
    level: int
    level_step_days: int

    def to_fit(self, as_of: date) -> list[date]:
        """Return the cutoffs to fit on for ``as_of``, newest first.

        The gate tests on features one horizon before as_of; all fitting labels end by that day.
        """
        newest = as_of - timedelta(days=2 * self.horizon_days)
        return [newest - timedelta(days=self.fitting_step_days * n) for n in range(self.fitting)]

    def gate(self, as_of: date) -> date:
        """Return the newest cutoff whose labels are complete at ``as_of``."""
        return as_of - timedelta(days=self.horizon_days)

    def of_level(self, as_of: date) -> list[date]:
        """Return the newest cutoffs with complete labels, which calibrate scores for ``as_of``."""
        newest = self.gate(as_of)
        return [newest - timedelta(days=self.level_step_days * n) for n in range(self.level)]


def labelled(datasets: Mapping[date, pd.DataFrame], label: str) -> pd.DataFrame:
    """Return the labelled rows of each cutoff's dataset, with ``cutoff_age``: days before newest.

    Raises:
        NothingToLearnFrom: if there is none.
    """
    newest = max(datasets)
    rows = pd.concat(
        [
            dataset[dataset[label].notna()].assign(cutoff_age=(newest - cutoff).days)
            for cutoff, dataset in datasets.items()
        ],
        ignore_index=True,
    )
    if rows.empty:
        raise NothingToLearnFrom(
            f"no labelled row at cutoffs {sorted(map(str, datasets))} ({label} is null): is "
            "known_by a whole horizon later, and is history extracted that far back?"
        )
    return rows


def split(datasets: Mapping[date, pd.DataFrame], label: str) -> Slices:
    """Return the rows of each cutoff's dataset, cut into slices by client.

    Training sees 70 % of the clients and calibration 15 %, at every cutoff; validation (early
    stopping, tuning) sees the other 15 % at the newest cutoff.

    Raises:
        NothingToLearnFrom: if there is no labelled row.
    """
    rows = labelled(datasets, label)
    part = percent(rows["client_id"].to_numpy())
    latest = (rows["cutoff_age"] == 0).to_numpy()
    trained = part < TRAIN_PERCENT
    validated = part < TRAIN_PERCENT + VALIDATION_PERCENT
    return Slices(
        rows[trained].reset_index(drop=True),
        rows[~trained & validated & latest].reset_index(drop=True),
        rows[~validated].reset_index(drop=True),
    )


def percent(clients: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return 0 to 99 for each client, at random but always the same (splitmix64)."""
    bits = clients.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (bits ^ (bits >> np.uint64(31))) % np.uint64(100)
