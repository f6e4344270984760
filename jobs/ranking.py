"""How good ranked lists are: the field's figures, one value per user, and over all lists.

Lists hold places of items, best first, -1 where a list is shorter. Definitions for one user whose
relevant items are R:

- ``hitrate@k``: 1 if any of the first k is in R.
- ``ndcg@k``: sum over hits at rank r of 1 / log2(r + 1), over that of min(k, |R|) hits on top
  (Jarvelin and Kekalainen 2002, with gains of 0 and 1).
- ``map@k``: mean over hits at rank r of (hits up to r) / r, over min(k, |R|).
- ``recall@k``: hits among the first k over |R|.

Over all users: ``coverage@k`` is the share of items that anybody gets among the first k;
``novelty@k`` the mean of -log2 of an item's share of views (Vargas and Castells 2011).
"""

import numpy as np
from numpy.typing import NDArray

METRICS = ("hitrate@5", "ndcg@10", "map@10", "recall@10")
CATALOG_METRICS = ("coverage@10", "novelty@10")

Places = NDArray[np.int32]


def per_user(
    lists: Places, user: NDArray[np.int64], relevant: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Return METRICS, one value per row of ``lists``.

    Args:
        lists: users by ranks, at least 10.
        user: row of each relevant pair; each user has at least one.
        relevant: item of each pair; one that stands in no list counts as missed.

    Raises:
        ValueError: if a user has nothing relevant, or lists are shorter than 10.
    """
    if lists.shape[1] < 10:
        raise ValueError(f"lists of {lists.shape[1]} places; expected 10 or more")
    width = int(max(lists.max(initial=0), relevant.max(initial=0))) + 1
    pairs = np.unique(user * width + relevant)  # liked twice is liked
    size = np.bincount(pairs // width, minlength=len(lists))
    if len(lists) and size.min() == 0:
        raise ValueError(f"{int((size == 0).sum())} of {len(lists)} users have nothing relevant")
    top = lists[:, :10].astype(np.int64)
    hits = np.isin(np.arange(len(lists))[:, None] * width + top, pairs) & (top >= 0)
    ranks = np.arange(1, 11)
    gains = 1 / np.log2(ranks + 1)
    best = np.minimum(size, 10)
    precision = np.cumsum(hits, axis=1) / ranks
    return {
        "hitrate@5": hits[:, :5].any(axis=1).astype(float),
        "ndcg@10": hits @ gains / np.cumsum(gains)[best - 1],
        "map@10": (precision * hits).sum(axis=1) / best,
        "recall@10": hits.sum(axis=1) / size,
    }


def over_catalog(lists: Places, views: NDArray[np.float64]) -> dict[str, float]:
    """Return CATALOG_METRICS of all lists together.

    Args:
        lists: users by ranks.
        views: of each item, before the lists were made.
    """
    shown = lists[:, :10]
    shown = shown[shown >= 0]
    if not len(shown):
        return {"coverage@10": 0.0, "novelty@10": 0.0}
    share = (views + 1) / (views.sum() + len(views))
    return {
        "coverage@10": len(np.unique(shown)) / len(views),
        "novelty@10": float(-np.log2(share[shown]).mean()),
    }
