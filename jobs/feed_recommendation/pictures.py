"""Pictures of a version: what its lists are worth beside each source's, and what it looks at."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.feed_recommendation.context import Context
from jobs.feed_recommendation.evaluating import LIKES, PRIMARY
from jobs.feed_recommendation.model import MODEL, Fitted

SHOWN_FEATURES = 20


def draw(
    out: Path,
    version: str,
    fitted: Fitted,
    measured: pd.DataFrame,
    vectors: NDArray[np.float32],
    context: Context,
) -> list[Path]:
    """Draw every picture into ``out`` and return the files.

    Args:
        out: folder, made where it is missing.
        version: version, for the titles.
        fitted: the version.
        measured: name, metric, value, low, high; see `evaluating.summary`.
        vectors: the encoder's, of the context's posts.
        context: of the gate's day.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = [
        _compared(out / "viewed.png", version, measured, PRIMARY, "what users viewed the next day"),
        _compared(out / "next_day.png", version, measured, LIKES, "the next day's likes"),
        _importance(out / "importance.png", version, fitted),
        _texts(out / "texts.png", version, vectors, context),
    ]
    if measured["metric"].str.startswith("last_like_").any():
        what = "users' last likes, held out"
        files.append(
            _compared(out / "last_like.png", version, measured, f"last_like_{LIKES}", what)
        )
    return files


def _compared(file: Path, version: str, measured: pd.DataFrame, metric: str, what: str) -> Path:
    """Draw a metric of the model and of each source, with intervals."""
    rows = measured[measured["metric"] == metric].sort_values(["value", "name"])
    figure, axes = plt.subplots(figsize=(7, 0.4 * len(rows) + 1.5))
    spread = np.abs(rows[["low", "high"]].to_numpy().T - rows["value"].to_numpy())
    colors = ["tab:blue" if name == MODEL else "tab:gray" for name in rows["name"]]
    axes.barh(rows["name"], rows["value"], xerr=spread, color=colors, capsize=3)
    axes.set(xlabel=f"{metric} on {what} (95 % intervals)", title=version)
    return _save(figure, file)


def _importance(file: Path, version: str, fitted: Fitted) -> Path:
    """Draw what the ranker looks at."""
    importance = pd.Series(
        fitted.ranker.get_feature_importance(), index=fitted.ranker.feature_names_
    )
    top = importance.sort_values().tail(SHOWN_FEATURES)
    figure, axes = plt.subplots(figsize=(7, 6))
    axes.barh(top.index, top.to_numpy(), color="tab:blue")
    axes.set(xlabel="importance, of 100 in all", title=version)
    return _save(figure, file)


def _texts(file: Path, version: str, vectors: NDArray[np.float32], context: Context) -> Path:
    """Draw the posts' vectors on their two main axes, colored by topic."""
    centered = vectors - vectors.mean(axis=0)
    axes_of = np.linalg.svd(centered, full_matrices=False)[2][:2]
    flat = centered @ axes_of.T
    figure, axes = plt.subplots(figsize=(7, 6))
    for place, topic in enumerate(context.topics):
        chosen = context.topic == place
        axes.scatter(flat[chosen, 0], flat[chosen, 1], s=8, label=topic)
    axes.legend(fontsize="small", ncols=2)
    axes.set(title=f"{version}: texts", xlabel="first axis", ylabel="second axis")
    return _save(figure, file)


def _save(figure: plt.Figure, file: Path) -> Path:
    figure.tight_layout()
    figure.savefig(file, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return file
