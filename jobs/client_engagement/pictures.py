"""Pictures of the engagement model beside those of every job: its threshold, its candidates."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from jobs.client_engagement.bench import ALWAYS_NO
from jobs.client_engagement.model import Fitted
from jobs.client_scores.threshold import says_yes
from jobs.pictures import COLOURS, MISSING_COLOUR, blank, thinned, written

SCATTERED = (
    ("open_rate_90d", "click_rate_90d"),
    ("sends_90d", "clicks_90d"),
    ("days_since_click", "total_clicks"),
    ("total_spent", "total_clicks"),
)
MOST_DOTS = 4_000
SHOWN_FACTORS = 30
SEED = 7

Numbers = NDArray[np.float64]


def draw(
    folder: Path,
    title: str,
    fitted: Fitted,
    dataset: pd.DataFrame,
    labels: pd.Series,
    chances: Numbers,
) -> list[Path]:
    """Draw threshold, confusion, scatter, multicollinearity and bench; return the files.

    Args:
        folder: where.
        title: first words of each picture's title.
        fitted: the model; a baseline has no bench and no multicollinearity.
        dataset: the gate's rows.
        labels: their labels.
        chances: the model's.
    """
    y = labels.to_numpy(dtype=float)
    drawn = [
        threshold(folder / "threshold.png", title, fitted, y, chances),
        confusion(folder / "confusion.png", title, fitted, y, chances),
        scatter(folder / "scatter.png", title, dataset, y),
    ]
    if fitted.vif is not None:
        drawn.append(multicollinearity(folder / "vif.png", title, fitted.vif))
    if fitted.bench is not None:
        drawn.append(bench(folder / "bench.png", title, fitted.bench))
    return drawn


def threshold(path: Path, title: str, fitted: Fitted, labels: Numbers, chances: Numbers) -> Path:
    """Draw precision, recall and the share named at each threshold; return ``path``."""
    figure, axes = blank(f"{title}: threshold", "Threshold", "Share")
    order = np.argsort(-chances, kind="stable")
    named = np.arange(1, len(order) + 1)
    found = np.cumsum(labels[order])
    kept = thinned(len(order))
    at = chances[order][kept]
    axes.plot(at, (found / named)[kept], color=COLOURS[0], label="precision")
    axes.plot(at, (found / max(labels.sum(), 1))[kept], color=COLOURS[1], label="recall")
    axes.plot(at, (named / len(order))[kept], color=COLOURS[2], label="clients named")
    chosen = fitted.threshold
    axes.axvline(chosen.threshold, color="#444444", linestyle=":")
    axes.set_xlim(0, min(1, float(at.max()) * 1.05))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    said = f"{chosen.aim}: threshold {chosen.threshold:.4f}"
    axes.legend(title=said, loc="center right", frameon=False)
    return written(figure, path)


def confusion(path: Path, title: str, fitted: Fitted, labels: Numbers, chances: Numbers) -> Path:
    """Draw how many clients were named and engaged, or not; return ``path``."""
    figure, axes = blank(f"{title}: at the threshold", "", "")
    yes = says_yes(fitted.threshold, chances)
    both = 2 * labels.astype(int) + yes
    counts = np.bincount(both, minlength=4).reshape(2, 2)
    axes.imshow(np.log1p(counts), cmap="Blues")
    for is_ in (0, 1):
        for say in (0, 1):
            dark = np.log1p(counts[is_, say]) > np.log1p(counts.max()) / 1.6
            axes.text(
                say,
                is_,
                f"{counts[is_, say]:,}",
                ha="center",
                va="center",
                color="white" if dark else "black",
                fontsize=14,
            )
    axes.set_xticks([0, 1], ["not named", "named"])
    axes.set_yticks([0, 1], ["did not engage", "engaged"])
    return written(figure, path)


def scatter(path: Path, title: str, dataset: pd.DataFrame, labels: Numbers) -> Path:
    """Draw pairs of features, the clients who engaged on top; return ``path``."""
    pairs = [pair for pair in SCATTERED if set(pair) <= set(dataset)]
    figure, axes = blank(f"{title}: clients", "", "", max(len(pairs), 1))
    random = np.random.default_rng(SEED)
    some = random.choice(len(dataset), min(len(dataset), MOST_DOTS), replace=False)
    # Of the few who engage all are drawn, or none would be seen.
    some = np.concatenate([some[labels[some] == 0], np.flatnonzero(labels == 1)[:MOST_DOTS]])
    wanted = sorted({name for pair in pairs for name in pair})
    numbers = dataset[wanted].astype(float)
    for part, (across, up) in zip(np.atleast_1d(axes).ravel(), pairs, strict=False):
        for label, colour, name in ((0, MISSING_COLOUR, "did not"), (1, COLOURS[1], "engaged")):
            rows = some[labels[some] == label]
            x, y = (numbers[name].iloc[rows] for name in (across, up))
            part.scatter(x, y, s=10, color=colour, alpha=0.5, linewidths=0, label=name)
        part.set_xlabel(across, fontsize=8)
        part.set_ylabel(up, fontsize=8)
        part.tick_params(labelsize=7)
        if numbers[across].max() > 50:
            part.set_xscale("symlog")
    np.atleast_1d(axes).ravel()[0].legend(frameon=False, fontsize=8)
    return written(figure, path)


def multicollinearity(path: Path, title: str, vif: pd.DataFrame) -> Path:
    """Draw the variance inflation factors, those for which a number went apart; return ``path``."""
    figure, axes = blank(f"{title}: variance inflation", "Variance inflation factor", "")
    known = vif[vif["vif"].notna()]
    shown = known.sort_values("vif", kind="stable").tail(SHOWN_FACTORS)
    most = np.nanmax(np.where(np.isfinite(shown["vif"]), shown["vif"], np.nan), initial=10)
    factors = np.minimum(shown["vif"].to_numpy(), 10 * most)
    gone = shown["dropped"].notna().to_numpy()
    colours = np.where(gone, COLOURS[1], COLOURS[0])
    axes.barh(np.arange(len(shown)), factors, color=colours)
    axes.set_yticks(np.arange(len(shown)), list(shown["feature"]), fontsize=7)
    axes.set_xscale("log")
    axes.axvline(10, color="#444444", linestyle=":")
    axes.set_xlabel("Variance inflation factor (orange: dropped; dotted: the limit)")
    return written(figure, path)


def bench(path: Path, title: str, table: pd.DataFrame) -> Path:
    """Draw each candidate's PR AUC with its interval and its calibration error; return ``path``."""
    figure, parts = blank(f"{title}: candidates", "", "", 2)
    rows = table[table["model"] != ALWAYS_NO].iloc[::-1].reset_index(drop=True)
    names = [
        f"{row.model}, {row.handling}{'' if row.vectors else ', no vectors'}"
        for row in rows.itertuples()
    ]
    place = np.arange(len(rows))
    left, right = np.atleast_1d(parts).ravel()[:2]
    colours = np.where(rows["chosen"], COLOURS[1], COLOURS[0])
    if rows.get("pr_auc") is not None:
        low, high = rows["pr_auc"] - rows["pr_auc_low"], rows["pr_auc_high"] - rows["pr_auc"]
        for at in place:
            left.errorbar(
                rows["pr_auc"][at],
                at,
                xerr=[[max(low[at], 0)], [max(high[at], 0)]],
                fmt="o",
                color=colours[at],
                markersize=4,
            )
        right.scatter(rows["ece_raw"], place, color=MISSING_COLOUR, s=18, label="as the model says")
        right.scatter(rows["ece"], place, color=COLOURS[2], s=18, label="calibrated")
    left.set_yticks(place, names, fontsize=6)
    left.set_xlabel("PR AUC (orange: chosen)", fontsize=8)
    right.set_yticks(place, [""] * len(place))
    right.set_xlabel("Calibration error", fontsize=8)
    right.legend(frameon=False, fontsize=8)
    return written(figure, path)
