"""The figures of `jobs.evaluation` in one pass over weighted rows: a bootstrap asks thousands."""

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True)
def figures(
    order: Any, labels: Any, excess: Any, ends: Any, weights: Any, bins: int
) -> tuple[float, float, float, float, float]:
    """Return roc_auc, pr_auc, brier, ece and lift; NaN where all drawn rows have one label.

    Args:
        order: rows from the highest probability down.
        labels: 0 or 1, in that order.
        excess: label minus probability, in that order.
        ends: whether a row is the last of its probability, in that order.
        weights: how often each row counts, not in that order.
        bins: bins of the calibration error.
    """
    rows, found = 0.0, 0.0
    for place in range(len(order)):
        weight = weights[order[place]]
        rows += weight
        found += weight * labels[place]
    if found == 0 or found == rows:
        return np.nan, np.nan, np.nan, np.nan, np.nan
    mass, positives, gap, brier = 0.0, 0.0, 0.0, 0.0
    # of the group before, and of the bin before
    mass_before, positives_before, gap_before = 0.0, 0.0, 0.0
    roc_auc, pr_auc, ece, top = 0.0, 0.0, 0.0, -1.0
    cut, tenth = 1, rows / 10
    for place in range(len(order)):
        weight = weights[order[place]]
        mass += weight
        positives += weight * labels[place]
        gap += weight * excess[place]
        brier += weight * excess[place] ** 2
        if not ends[place]:
            continue
        gained = positives - positives_before
        missed = mass - mass_before - gained
        roc_auc += missed * (positives - gained / 2)
        if gained > 0:
            pr_auc += gained * positives / mass
        # each cut is the first group end at or past its share of the mass
        if cut <= bins and mass >= rows * cut / bins - 1e-6:
            ece += abs(gap - gap_before)
            gap_before = gap
            while cut <= bins and mass >= rows * cut / bins - 1e-6:
                cut += 1
        if top < 0 and mass >= tenth:
            share = (tenth - mass_before) / (mass - mass_before)
            top = positives_before + share * gained
        mass_before, positives_before = mass, positives
    return (
        roc_auc / (found * (rows - found)),
        pr_auc / found,
        brier / rows,
        ece / rows,
        top / tenth / (found / rows),
    )
