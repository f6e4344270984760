"""A blend: the mean of several models' chances, weighted as held-out events say."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

ROUNDS = 200
# A model that adds less is left out: it would cost a night its time for nothing.
LEAST_WEIGHT = 0.05

Numbers = NDArray[np.float64]


def weights(of_truth: Mapping[str, Numbers]) -> dict[str, float]:
    """Return each model's share in the blend that is most likely; those that add little have none.

    The likelihood of a mean of chances has a single top, which EM climbs.

    Args:
        of_truth: by model, the chance it gave to what then happened, one entry an event.
    """
    names = sorted(of_truth)
    chances = np.column_stack([of_truth[name] for name in names])
    share = np.full(len(names), 1 / len(names))
    for _ in range(ROUNDS):
        part = chances * share
        share = (part / part.sum(axis=1, keepdims=True)).mean(axis=0)
    kept = share >= min(LEAST_WEIGHT, share.max())
    total = share[kept].sum()
    return {
        name: float(each / total) for name, each, on in zip(names, share, kept, strict=True) if on
    }


def mixed(chances: Mapping[str, NDArray[np.floating]], share: Mapping[str, float]) -> Numbers:
    """Return the weighted mean of the models' chances, in float64."""
    return np.asarray(
        sum(np.asarray(chances[name], float) * weight for name, weight in sorted(share.items()))
    )
