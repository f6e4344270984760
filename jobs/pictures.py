"""Pictures of a classifier: one PNG each, from labels, probabilities and contributions.

Figures are made without pyplot, so nothing global changes and tasks can draw side by side; the
same numbers give the same file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from jobs import evaluation

WIDE, HIGH, DPI = 7.0, 5.0, 110
# Okabe and Ito (2008): told apart by colour-blind readers and in grey.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")
LOW_COLOUR, HIGH_COLOUR, MISSING_COLOUR = "#0072b2", "#d55e00", "#bbbbbb"
MOST_POINTS = 1000  # of a curve; a picture has no room for more
MOST_DOTS = 4000  # of a SHAP picture
SHOWN_FEATURES = 15
DEPENDENCE_FEATURES = 6
SEED = 7

Numbers = NDArray[np.float64]


def draw(
    folder: Path,
    title: str,
    labels: ArrayLike,
    probabilities: Mapping[str, ArrayLike],
    contributions: pd.DataFrame,
    values: pd.DataFrame,
) -> list[Path]:
    """Draw every picture into ``folder`` and return the files.

    Args:
        folder: made where it is missing.
        title: first words of each picture's title: job, version and day.
        labels: 0 or 1, one per row.
        probabilities: the model's first, then those of whatever it is compared with.
        contributions: contributions to the model's log-odds, one column per feature.
        values: the features' values, same rows; columns as in ``contributions`` or more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = next(iter(probabilities))
    y = np.asarray(labels, dtype=float)
    return [
        roc(folder / "roc.png", title, y, probabilities),
        precision_recall(folder / "precision_recall.png", title, y, probabilities),
        calibration(folder / "calibration.png", title, y, probabilities),
        gain(folder / "gain.png", title, y, probabilities),
        deciles(folder / "deciles.png", title, y, probabilities[first]),
        importance(folder / "importance.png", title, contributions),
        shap_summary(folder / "shap_summary.png", title, contributions, values),
        shap_dependence(folder / "shap_dependence.png", title, contributions, values),
    ]


def roc(path: Path, title: str, labels: Numbers, probabilities: Mapping[str, ArrayLike]) -> Path:
    """Draw the ROC curve of each name into ``path`` and return it."""
    figure, axes = blank(f"{title}: ROC", "False positive rate", "True positive rate")
    for name, values, colour in _coloured(probabilities):
        wrong, right, _ = roc_curve(labels, values)
        area = evaluation.metrics(labels, values)["roc_auc"]
        kept = thinned(len(wrong))
        axes.plot(wrong[kept], right[kept], color=colour, label=f"{name} {area:.3f}")
    axes.plot([0, 1], [0, 1], color=MISSING_COLOUR, linestyle=":")
    axes.legend(title="ROC AUC", loc="lower right", frameon=False)
    return written(figure, path)


def precision_recall(
    path: Path, title: str, labels: Numbers, probabilities: Mapping[str, ArrayLike]
) -> Path:
    """Draw the precision-recall curve of each name into ``path`` and return it."""
    figure, axes = blank(f"{title}: precision and recall", "Recall", "Precision")
    for name, values, colour in _coloured(probabilities):
        precision, recall, _ = precision_recall_curve(labels, values)
        area = evaluation.metrics(labels, values)["pr_auc"]
        kept = thinned(len(recall))
        axes.step(recall[kept], precision[kept], color=colour, label=f"{name} {area:.3f}")
    axes.axhline(labels.mean(), color=MISSING_COLOUR, linestyle=":")
    axes.legend(title="Average precision", loc="upper right", frameon=False)
    return written(figure, path)


def calibration(
    path: Path, title: str, labels: Numbers, probabilities: Mapping[str, ArrayLike]
) -> Path:
    """Draw predicted against observed shares in ten bins of equal mass; return ``path``."""
    figure, axes = blank(f"{title}: calibration", "Predicted", "Observed")
    most = 0.0
    for name, values, colour in _coloured(probabilities):
        chance = np.asarray(values, dtype=float)
        bins = np.array_split(np.argsort(chance, kind="stable"), min(evaluation.BINS, len(chance)))
        predicted = [chance[rows].mean() for rows in bins]
        observed = [labels[rows].mean() for rows in bins]
        error = evaluation.metrics(labels, chance)["ece"]
        label = f"{name} {error:.4f}"
        axes.plot(predicted, observed, color=colour, marker="o", markersize=4, label=label)
        most = max(most, *predicted, *observed)
    axes.plot([0, most], [0, most], color=MISSING_COLOUR, linestyle=":")
    axes.legend(title="Calibration error", loc="upper left", frameon=False)
    return written(figure, path)


def gain(path: Path, title: str, labels: Numbers, probabilities: Mapping[str, ArrayLike]) -> Path:
    """Draw the share of positives found by addressing the best first; return ``path``."""
    figure, axes = blank(f"{title}: cumulative gain", "Clients addressed", "Positives found")
    for name, values, colour in _coloured(probabilities):
        order = np.argsort(-np.asarray(values, dtype=float), kind="stable")
        found = np.append(0, np.cumsum(labels[order])) / labels.sum()
        kept = thinned(len(found))
        lift = evaluation.metrics(labels, values)["lift"]
        shares = np.linspace(0, 1, len(found))[kept]
        axes.plot(shares, found[kept], color=colour, label=f"{name} {lift:.2f}")
    axes.plot([0, 1], [0, 1], color=MISSING_COLOUR, linestyle=":")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(title="Lift of the top tenth", loc="lower right", frameon=False)
    return written(figure, path)


def deciles(path: Path, title: str, labels: Numbers, probabilities: ArrayLike) -> Path:
    """Draw predicted beside observed shares by decile; return ``path``."""
    figure, axes = blank(f"{title}: deciles", "Decile (1 has the highest chances)", "Positives")
    table = evaluation.decile_table(labels, probabilities, np.arange(len(labels)))
    at = table["decile"].to_numpy(dtype=float)
    axes.bar(at - 0.2, table["predicted_rate"], 0.4, color=COLOURS[0], label="predicted")
    axes.bar(at + 0.2, table["observed_rate"], 0.4, color=COLOURS[1], label="observed")
    axes.set_xticks(at)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(frameon=False)
    return written(figure, path)


def importance(path: Path, title: str, contributions: pd.DataFrame) -> Path:
    """Draw the features' mean absolute contributions; return ``path``."""
    figure, axes = blank(f"{title}: importance", "Mean |contribution| to the log-odds", "")
    strength = contributions.abs().mean()[_strongest(contributions, SHOWN_FEATURES)]
    axes.barh(strength.index[::-1], strength.to_numpy()[::-1], color=COLOURS[0])
    return written(figure, path)


def shap_summary(path: Path, title: str, contributions: pd.DataFrame, values: pd.DataFrame) -> Path:
    """Draw every row's contribution, coloured by the feature's value; return ``path``."""
    figure, axes = blank(f"{title}: contributions", "Contribution to the log-odds", "")
    names = _strongest(contributions, SHOWN_FEATURES)[::-1]
    random = np.random.default_rng(SEED)
    rows = _some(len(contributions), random)
    for height, name in enumerate(names):
        moved = contributions[name].to_numpy(dtype=float)[rows]
        spread = height + random.uniform(-0.3, 0.3, len(moved))
        shade = _ranks(values[name].to_numpy(dtype=float)[rows])
        missing = np.isnan(shade)
        axes.scatter(moved[missing], spread[missing], s=3, color=MISSING_COLOUR, linewidths=0)
        axes.scatter(
            moved[~missing], spread[~missing], s=3, c=shade[~missing], cmap="coolwarm", linewidths=0
        )
    axes.axvline(0, color="#444444", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("Contribution to the log-odds (blue: low value, red: high, grey: missing)")
    return written(figure, path)


def shap_dependence(
    path: Path, title: str, contributions: pd.DataFrame, values: pd.DataFrame
) -> Path:
    """Draw contribution against value for the strongest features; return ``path``."""
    names = _strongest(contributions, DEPENDENCE_FEATURES)
    lines = max(1, -(-len(names) // 3))
    figure = Figure(figsize=(WIDE * 1.4, 2.9 * lines), dpi=DPI, layout="constrained")
    figure.suptitle(f"{title}: dependence", fontsize=11)
    rows = _some(len(contributions), np.random.default_rng(SEED))
    for place, name in enumerate(names):
        axes = figure.add_subplot(lines, 3, place + 1)
        value = values[name].to_numpy(dtype=float)[rows]
        moved = contributions[name].to_numpy(dtype=float)[rows]
        axes.scatter(value, moved, s=4, color=COLOURS[0], alpha=0.4, linewidths=0)
        known = value[np.isfinite(value)]
        if len(known) and known.min() >= 0 and known.max() > 50 * max(np.median(known), 1):
            axes.set_xscale("symlog")
        axes.axhline(0, color="#444444", linewidth=0.8)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=8)
    return written(figure, path)


def blank(title: str, across: str, up: str, parts: int = 1) -> tuple[Figure, Any]:
    """Return an empty figure and its axes; an array of axes, two a line, for more than one part."""
    lines = -(-parts // 2)
    size = (WIDE, HIGH) if parts == 1 else (WIDE * 1.4, 4.4 * lines)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    if parts == 1:
        axes = figure.add_subplot()
        axes.set_title(title, fontsize=11)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.spines[["top", "right"]].set_visible(False)
        return figure, axes
    figure.suptitle(title, fontsize=11)
    return figure, figure.subplots(lines, 2)


def written(figure: Figure, path: Path) -> Path:
    """Write the picture and return its path; the same numbers give the same file."""
    figure.savefig(path, metadata={"Software": None})
    return path


def _coloured(probabilities: Mapping[str, ArrayLike]) -> list[tuple[str, ArrayLike, str]]:
    return [
        (name, values, COLOURS[place % len(COLOURS)])
        for place, (name, values) in enumerate(probabilities.items())
    ]


def thinned(points: int) -> NDArray[np.intp]:
    """Return at most MOST_POINTS places, evenly spread, first and last among them."""
    return np.unique(np.linspace(0, points - 1, min(points, MOST_POINTS)).astype(np.intp))


def _some(rows: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Return at most MOST_DOTS row numbers."""
    drawn = random.choice(rows, min(rows, MOST_DOTS), replace=False)
    return np.sort(drawn).astype(np.intp)


def _strongest(contributions: pd.DataFrame, most: int) -> list[str]:
    strength = contributions.abs().mean().sort_values(ascending=False, kind="stable")
    return [str(name) for name in strength.index[:most] if strength[name] > 0]


def _ranks(values: Numbers) -> Numbers:
    """Return the values' ranks from 0 to 1, so that a few huge ones don't take all colours."""
    return np.asarray(pd.Series(values).rank(pct=True), dtype=np.float64)
