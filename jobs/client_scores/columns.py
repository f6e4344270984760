"""Columns that a fitted version reads."""

from collections.abc import Sequence

import pandas as pd


class VersionOutdated(ValueError):
    """The version reads something that the code no longer makes."""


def named(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return the columns ``names`` of ``frame``, in that order.

    Raises:
        VersionOutdated: if one is not there.
    """
    if gone := [name for name in names if name not in frame]:
        raise VersionOutdated(
            f"this version reads {gone}, which the code no longer makes: promote a newer version, "
            "or run the code that it was trained with (its MLflow run names the commit)"
        )
    return frame[list(names)]
