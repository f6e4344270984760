"""Pictures of a version: predicted against observed rates, residuals, what pictures gain."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.pictures import COLOURS, MISSING_COLOUR, blank, written
from jobs.post_conversion import model
from jobs.post_conversion.model import Fitted
from jobs.post_conversion.rows import Rows

LARGEST = 140.0  # points squared, of the post with most views

Numbers = NDArray[np.float64]


def draw(folder: Path, title: str, fitted: Fitted, rows: Rows, table: pd.DataFrame) -> list[Path]:
    """Draw every picture of a version into ``folder`` and return the files.

    Args:
        folder: made if it is not there.
        title: of each picture.
        fitted: the version.
        rows: the gate's posts.
        table: what `experiments.table` returned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seen = rows.where(rows.views > 0)
    rate = model.predicted(fitted, seen)
    observed = seen.counts() / seen.views[:, None]
    return [
        foretold(folder / "foretold.png", title, fitted, seen, rate, observed),
        residuals(folder / "residuals.png", title, fitted, seen, rate, observed),
        picture_gain(folder / "picture_gain.png", title, table),
        candidates(folder / "candidates.png", title, table),
    ]


def foretold(
    path: Path, title: str, fitted: Fitted, rows: Rows, rate: Numbers, observed: Numbers
) -> Path:
    """Draw observed against predicted rates, a dot a post, as large as its views; return path."""
    figure, parts = _parts(f"{title}: predicted and observed rates", len(fitted.actions))
    for place, (part, action) in enumerate(zip(parts, fitted.actions, strict=False)):
        part.scatter(
            rate[:, place], observed[:, place], s=_sizes(rows.views), alpha=0.5, color=COLOURS[0],
            linewidths=0,
        )  # fmt: skip
        top = 1.05 * float(rate[:, place].max())
        part.plot([0, top], [0, top], color=MISSING_COLOUR, linewidth=1)
        part.set_title(f"{action} ({fitted.serves[action]})", fontsize=8)
        part.set_xlabel("predicted share of views", fontsize=8)
        part.set_ylabel("observed (area: views)", fontsize=8)
        part.tick_params(labelsize=7)
    return written(figure, path)


def residuals(
    path: Path, title: str, fitted: Fitted, rows: Rows, rate: Numbers, observed: Numbers
) -> Path:
    """Draw by how much observed rates lie above predicted ones, by topic; return the file."""
    figure, parts = _parts(f"{title}: observed minus predicted, by topic", len(fitted.actions))
    topics = rows.posts["topic"].to_numpy()
    names = pd.Series(rows.views).groupby(topics).sum().nlargest(12).index.tolist()
    random = np.random.default_rng(0)
    for place, (part, action) in enumerate(zip(parts, fitted.actions, strict=False)):
        for line, topic in enumerate(names):
            of_topic = topics == topic
            gap = observed[of_topic, place] - rate[of_topic, place]
            jitter = line + random.uniform(-0.25, 0.25, of_topic.sum())
            part.scatter(
                gap, jitter, s=_sizes(rows.views)[of_topic], alpha=0.5, color=COLOURS[0],
                linewidths=0,
            )  # fmt: skip
            mean = np.average(gap, weights=rows.views[of_topic])
            part.plot([mean, mean], [line - 0.35, line + 0.35], color=COLOURS[1], linewidth=2)
        part.axvline(0, color=MISSING_COLOUR, linewidth=1)
        part.set_yticks(range(len(names)), names, fontsize=7)
        part.set_title(f"{action} (orange: mean by views)", fontsize=8)
        part.tick_params(axis="x", labelsize=7)
    return written(figure, path)


def picture_gain(path: Path, title: str, table: pd.DataFrame) -> Path:
    """Draw how much less a view loses with pictures, by model and action; return the file."""
    actions = list(dict.fromkeys(table["action"]))
    figure, parts = _parts(f"{title}: gain from pictures, log-loss of a view", len(actions))
    for part, action in zip(parts, actions, strict=False):
        rows = table[(table["action"] == action) & table["with_pictures"]]
        _intervals(
            part, rows, "picture_gain", "picture_gain_low", "picture_gain_high",
            f"{action} (right of the line: pictures help)",
        )  # fmt: skip
        part.axvline(0, color=MISSING_COLOUR, linewidth=1)
        part.set_xlabel("nats a view", fontsize=7)
    return written(figure, path)


def candidates(path: Path, title: str, table: pd.DataFrame) -> Path:
    """Draw the loss of every candidate on the same later posts, by action; return the file."""
    actions = list(dict.fromkeys(table["action"]))
    figure, parts = _parts(f"{title}: log-loss of a view", len(actions))
    for part, action in zip(parts, actions, strict=False):
        rows = table[table["action"] == action].sort_values("log_loss", ascending=False)
        words = f"{action} (orange: serves)"
        _intervals(part, rows, "log_loss", "log_loss_low", "log_loss_high", words)
        part.set_xlabel("nats a view", fontsize=7)
    return written(figure, path)


def _intervals(part: Any, rows: pd.DataFrame, value: str, low: str, high: str, words: str) -> None:
    for line, row in enumerate(rows.to_dict("records")):
        colour = COLOURS[1] if row["serves"] else MISSING_COLOUR
        part.plot([row[low], row[high]], [line, line], color=colour)
        part.plot(row[value], line, "o", color=colour, markersize=4)
    first, last = _scale(np.concatenate([rows[low].to_numpy(float), rows[high].to_numpy(float)]))
    part.set_xlim(first, last)
    for line, at in enumerate(rows[value].to_numpy(float)):
        if not first <= at <= last:  # said in words: on its scale all others would be one dot
            part.text(
                min(max(at, first), last), line, f" {at:.3g} ", fontsize=6, va="center",
                ha="right" if at > last else "left", color=MISSING_COLOUR,
            )  # fmt: skip
    names = [
        str(model.Candidate(row["model"], row["text"], row["with_pictures"]))
        for row in rows.to_dict("records")
    ]
    part.set_yticks(range(len(names)), names, fontsize=6)
    part.set_title(words, fontsize=8)
    part.tick_params(axis="x", labelsize=7)


def _scale(ends: Numbers) -> tuple[float, float]:
    """Return the scale on which most intervals can be told apart."""
    middle = float(np.median(ends))
    reach = 6 * float(np.median(np.abs(ends - middle)))
    near = ends[np.abs(ends - middle) <= reach]
    room = 0.05 * float(near.max() - near.min()) or 1e-6
    return float(near.min()) - room, float(near.max()) + room


def _parts(title: str, number: int) -> tuple[Any, list[Any]]:
    """Return a figure and its axes, those beyond ``number`` switched off."""
    figure, axes = blank(title, "", "", number)
    parts = list(np.atleast_1d(axes).ravel())
    for part in parts[number:]:
        part.set_axis_off()
    return figure, parts[:number]


def _sizes(views: Numbers) -> Numbers:
    return np.asarray(4 + LARGEST * views / views.max())
