"""Rates of views: binomial likelihood, shrinkage, and how uncertain a predicted rate is.

A rate of 5 views says less than one of 5,000. What is fitted and compared is the likelihood of the
counts; posts differ by more than chance does, so their true rates are taken as Beta distributed
around what a model predicts, with a strength (in views) that the data tell.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import betaln, expit
from scipy.stats import beta, betabinom, rankdata

LEAST, MOST = 1e-6, 1 - 1e-6  # rates that a prediction stays between
WEAKEST, STRONGEST = 1.0, 1e6  # views
GRID = 20  # strengths tried before the best is looked for between two
TAIL = 0.025
EXACT = 20_000  # views

Numbers = NDArray[np.float64]


def rate_of(log_odds: ArrayLike) -> Numbers:
    """Return the rates of log-odds, kept off 0 and 1."""
    return np.asarray(np.clip(expit(np.asarray(log_odds, float)), LEAST, MOST))


def loss(count: ArrayLike, views: ArrayLike, rate: ArrayLike) -> Numbers:
    """Return each post's binomial log-loss, of all its views together."""
    k, n, p = (np.asarray(each, float) for each in (count, views, rate))
    return np.asarray(-(k * np.log(p) + (n - k) * np.log1p(-p)))


def strength(count: ArrayLike, views: ArrayLike, rate: ArrayLike) -> float:
    """Return how many views a prediction is worth, by how far counts lie from it.

    The most likely one of counts that are Beta-binomial around ``rate``. (By moments one post of
    very many views would tell it alone.)
    """
    k, n, p = (np.asarray(each, float) for each in (count, views, rate))
    seen = n > 1
    k, n, p = np.minimum(k[seen], n[seen]), n[seen], np.clip(p[seen], LEAST, MOST)
    if not len(n):
        return STRONGEST

    def unlikely(log_strength: float) -> float:
        a, b = p * np.exp(log_strength), (1 - p) * np.exp(log_strength)
        return -float((betaln(k + a, n - k + b) - betaln(a, b)).sum())

    grid = np.linspace(np.log(WEAKEST), np.log(STRONGEST), GRID)
    best = int(np.argmin([unlikely(each) for each in grid]))
    around = grid[max(best - 1, 0)], grid[min(best + 1, GRID - 1)]
    found = minimize_scalar(unlikely, bounds=around, method="bounded")
    return float(np.clip(np.exp(found.x), WEAKEST, STRONGEST))


def worth(views: ArrayLike, known: float) -> Numbers:
    """Return how many independent views a post's views are worth, where posts differ.

    Args:
        views: of each post.
        known: the strength.
    """
    n = np.asarray(views, float)
    return np.asarray(n / (1 + np.maximum(n - 1, 0) / (known + 1)))


def capped(views: ArrayLike, share: float) -> Numbers:
    """Return views, of no post more than ``share`` of what is returned of all.

    Of too few posts for that, of none more than twice as many as if all had the same.
    """
    n = np.asarray(views, float)
    share = max(share, 2 / max(len(n), 1))
    most = float(n.max(initial=0))
    while (less := share * float(np.minimum(n, most).sum())) < most * (1 - 1e-9):
        most = less
    return np.asarray(np.minimum(n, most))


def interval(rate: ArrayLike, known: ArrayLike) -> tuple[Numbers, Numbers]:
    """Return the 95 % interval of the true rate around predictions of so many views' worth.

    The prediction is always within: where it is worth less than one action, most of the
    distribution lies at nearly nothing, and the mean above the interval of its middle.
    """
    p, views = np.asarray(rate, float), np.asarray(known, float)
    low, high = (beta.ppf(q, p * views, (1 - p) * views) for q in (TAIL, 1 - TAIL))
    return np.clip(np.minimum(low, p), 0, 1), np.clip(np.maximum(high, p), 0, 1)


def expected(rate: ArrayLike, known: float, count: ArrayLike, views: ArrayLike) -> Numbers:
    """Return the rates to expect where some views are seen: predicted and observed, by weight."""
    k, n, p = (np.asarray(each, float) for each in (count, views, rate))
    return np.asarray((p * known + k) / (known + n))


def coverage(count: ArrayLike, views: ArrayLike, rate: ArrayLike, known: float) -> float:
    """Return the share of posts whose count lies within the 95 % interval of what was predicted."""
    k, n, p = (np.asarray(each, float) for each in (count, views, rate))
    inside = np.zeros(len(n), bool)
    few = n <= EXACT
    spread = betabinom(n[few], p[few] * known, (1 - p[few]) * known)
    inside[few] = (k[few] >= spread.ppf(TAIL)) & (k[few] <= spread.ppf(1 - TAIL))
    # Of many views the exact quantiles take long: a Beta of the same mean and variance.
    k, n, p = k[~few], n[~few], p[~few]
    alike = 1 / ((1 + (n - 1) / (known + 1)) / n) - 1
    low, high = interval(p, alike)
    inside[~few] = (k / n >= low) & (k / n <= high)
    return float(inside.mean())


def shrunk(count: ArrayLike, views: ArrayLike, prior: ArrayLike, known: float) -> Numbers:
    """Return the log-odds of observed rates, drawn towards ``prior`` as ``known`` views would."""
    p = np.clip(expected(prior, known, count, views), LEAST, MOST)
    return np.asarray(np.log(p) - np.log1p(-p))


def figures(
    count: ArrayLike, views: ArrayLike, rate: ArrayLike, group: Sequence[str] | ArrayLike
) -> dict[str, float]:
    """Return how well rates were predicted.

    Of posts with views: log_loss (a view), spearman (of predicted and observed rates), the same
    within each group (ranks within it, weighted by its posts), absolute_error (of rates, weighted
    by views), calibration_error (of tenths of the views by predicted rate), top_decile_lift (rate
    of the tenth of posts predicted highest by that of all); posts predicted alike share what came
    of them. NaN where there is nothing to compare.
    """
    k, n, p = (np.asarray(each, float) for each in (count, views, rate))
    groups = np.asarray(group)
    seen = n > 0
    k, n, p, groups = k[seen], n[seen], p[seen], groups[seen]
    if not len(n):
        return dict.fromkeys(
            ("log_loss", "spearman", "spearman_within", "absolute_error", "calibration_error",
             "top_decile_lift"), np.nan
        )  # fmt: skip
    observed, total = k / n, n.sum()
    order = np.argsort(-p, kind="stable")
    top = order[: max(1, len(order) // 10)]
    base = k.sum() / total
    _, alike = np.unique(p, return_inverse=True)
    posts = np.bincount(alike)
    shared, seen_by = ((np.bincount(alike, each) / posts)[alike] for each in (k, n))
    tenth = np.minimum((np.cumsum(seen_by[order]) - seen_by[order] / 2) * 10 // total, 9)
    gap = np.bincount(tenth.astype(int), (shared - seen_by * p)[order], 10)
    return {
        "log_loss": float(loss(k, n, p).sum() / total),
        "spearman": _correlation(p, observed),
        "spearman_within": _within(p, observed, groups),
        "absolute_error": float((np.abs(observed - p) * n).sum() / total),
        "calibration_error": float(np.abs(gap).sum() / total),
        "top_decile_lift": float(shared[top].sum() / seen_by[top].sum() / base)
        if base > 0
        else np.nan,
    }


def _within(predicted: Numbers, observed: Numbers, groups: NDArray[np.str_]) -> float:
    """Return the mean over groups of the correlation within each, by its posts."""
    found, weights = [], []
    for name in np.unique(groups):
        of_group = groups == name
        one = _correlation(predicted[of_group], observed[of_group])
        if not np.isnan(one):
            found.append(one)
            weights.append(of_group.sum())
    return float(np.average(found, weights=weights)) if found else np.nan


def _correlation(one: Numbers, other: Numbers) -> float:
    """Return Spearman's; NaN of fewer than three, 0 where the prediction says the same to all."""
    if len(one) < 3 or np.ptp(other) == 0:
        return np.nan
    if np.ptp(one) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])
