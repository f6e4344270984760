"""Pictures of how clients move and of what was foretold; one PNG each."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from numpy.typing import NDArray

from jobs.client_behavior import model, moves
from jobs.client_behavior.comparing import Asked
from jobs.client_behavior.labels import HEADS
from jobs.client_behavior.model import TASKS, Fitted, Standing
from jobs.client_behavior.reading import microseconds
from jobs.client_behavior.sequences import DAY_US, PURCHASE, Sequences, settled
from jobs.client_behavior.transitions import first_states
from jobs.evaluation import decile_table
from jobs.pictures import COLOURS, MISSING_COLOUR, blank, written

# Moves that are rarer are left out of the graph, which would be black with them.
LEAST_MOVE = 0.06
WEEKS = 12
WEEK_US = 7 * DAY_US

Numbers = NDArray[np.float64]


def draw(folder: Path, title: str, fitted: Fitted, asked: Asked) -> list[Path]:
    """Draw every picture of a version into ``folder`` and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    whole, before = asked.whole(), asked.before()
    counted = settled(whole, asked.silence_days * DAY_US, microseconds(asked.as_of))
    matrix = moves.square(moves.transitions(counted), whole.states)
    begins = first_states(whole, np.ones(len(whole.clients), bool))
    share = moves.stationary(matrix, begins)
    found = [
        heat_map(folder / "transitions.png", title, whole.states, matrix),
        graph(folder / "graph.png", title, whole.states, matrix, share),
        change(folder / "change.png", title, whole, microseconds(asked.as_of)),
        survival(folder / "survival.png", title, before, microseconds(asked.cutoff)),
        foretold(folder / "foretold.png", title, fitted, asked, whole),
    ]
    if fitted.table is not None:
        found.append(candidates(folder / "candidates.png", title, fitted.table))
    return found


def heat_map(path: Path, title: str, states: tuple[str, ...], matrix: Numbers) -> Path:
    """Draw the chance of each next state (columns) after each state (rows); return ``path``."""
    figure, axes = blank(f"{title}: what comes next", "next state", "state")
    left = matrix.sum(axis=1) > 0
    sns.heatmap(
        pd.DataFrame(matrix, index=states, columns=states)[left],
        ax=axes,
        cmap="Blues",
        vmin=0,
        annot=True,
        fmt=".2f",
        annot_kws={"size": 8},
        cbar_kws={"label": "chance"},
    )
    axes.set_xlabel("next state")
    axes.set_ylabel("state")
    return written(figure, path)


def graph(path: Path, title: str, states: tuple[str, ...], matrix: Numbers, share: Numbers) -> Path:
    """Draw states as dots as large as their share of events, moves as arrows; return ``path``."""
    figure, axes = blank(f"{title}: moves of {LEAST_MOVE:.0%} or more", "", "")
    angle = np.pi / 2 - 2 * np.pi * np.arange(len(states)) / len(states)
    x, y = np.cos(angle), np.sin(angle)
    for one, other in zip(*np.nonzero(matrix >= LEAST_MOVE), strict=True):
        if one == other:
            continue
        axes.annotate(
            "",
            (x[other], y[other]),
            (x[one], y[one]),
            arrowprops={
                "arrowstyle": "-|>",
                "connectionstyle": "arc3,rad=0.14",
                "linewidth": 0.5 + 6 * matrix[one, other],
                "color": COLOURS[0],
                "alpha": 0.55,
                "shrinkA": 16,
                "shrinkB": 16,
            },
        )
    axes.scatter(x, y, s=80 + 2500 * share, color=COLOURS[4], zorder=3)
    for place, state in enumerate(states):
        stays = matrix[place, place]
        label = f"{state}\nagain {stays:.0%}" if stays >= LEAST_MOVE else state
        axes.text(1.28 * x[place], 1.2 * y[place], label, ha="center", va="center", fontsize=9)
    axes.set_xlim(-1.6, 1.6)
    axes.set_ylim(-1.45, 1.45)
    axes.set_axis_off()
    return written(figure, path)


def change(path: Path, title: str, found: Sequences, until: int) -> Path:
    """Draw how the chance of each state to come next went week by week; return ``path``."""
    figure, axes = blank(f"{title}: what came next, by week", "weeks ago", "share of events")
    week = (until - found.at - 1) // WEEK_US
    recent = (week < WEEKS) & (found.before() != found.start)
    for code, state in enumerate(found.states):
        count = np.bincount(week[recent & (found.state == code)], minlength=WEEKS)
        total = np.bincount(week[recent], minlength=WEEKS)
        axes.plot(
            -np.arange(WEEKS),
            count / np.maximum(total, 1),
            label=state,
            color=COLOURS[code % len(COLOURS)],
            linestyle="-" if code < len(COLOURS) else "--",
            marker="o",
            markersize=3,
        )
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return written(figure, path)


def survival(path: Path, title: str, found: Sequences, until: int) -> Path:
    """Draw the share of clients still without a purchase, by days since their first event.

    Clients who are not watched for longer leave the count there (Kaplan and Meier 1958).
    """
    figure, axes = blank(
        f"{title}: until the first purchase", "days since the first event", "without a purchase"
    )
    bought = found.state == found.states.index(PURCHASE)
    first = found.at[found.starts[:-1]]
    when = np.full(len(found.clients), until)
    places = np.flatnonzero(bought)[::-1]
    when[found.client()[places]] = found.at[places]
    days = (when - first) // DAY_US
    event = np.bincount(found.client()[bought], minlength=len(found.clients)) > 0
    length = int(days.max(initial=0)) + 1
    at_risk = np.cumsum(np.bincount(days, minlength=length)[::-1])[::-1]
    happened = np.bincount(days[event], minlength=length)
    share = np.cumprod(1 - happened / np.maximum(at_risk, 1))
    axes.step(np.arange(length), share, where="post", color=COLOURS[0])
    axes.set_ylim(0, 1.02)
    return written(figure, path)


def foretold(path: Path, title: str, fitted: Fitted, asked: Asked, whole: Sequences) -> Path:
    """Draw what was foretold beside what came, on the gate's rows; return ``path``."""
    figure, axes = blank(f"{title}: foretold and observed", "", "", 1 + len(HEADS))
    parts = np.atleast_1d(axes).ravel()
    moment = microseconds(asked.cutoff)
    before, outcomes = whole.between(0, moment), asked.outcomes(whole)
    standing = Standing(fitted, before, moment)
    for part, head in zip(parts, HEADS, strict=False):
        label = getattr(outcomes, head)
        seen = ~np.isnan(label)
        chance = model.served_head(standing, head)
        table = decile_table(label[seen], chance[seen], before.clients[seen])
        _diagonal(part, table["predicted_rate"], table["observed_rate"], f"{head}, by decile")
    wanted = asked.wanted(whole)
    expected = model.served_next(fitted, whole, wanted).mean(axis=0)
    came = np.bincount(whole.state[wanted], minlength=len(whole.states)) / max(wanted.sum(), 1)
    _diagonal(parts[len(HEADS)], expected, came, "next state, share of events")
    for state, x, y in zip(whole.states, expected, came, strict=True):
        parts[len(HEADS)].annotate(
            state, (x, y), xytext=(4, -8), textcoords="offset points", fontsize=7
        )
    for part in parts[1 + len(HEADS) :]:
        part.set_axis_off()
    return written(figure, path)


def candidates(path: Path, title: str, table: pd.DataFrame) -> Path:
    """Draw the loss of every candidate on the same later events; return ``path``."""
    figure, axes = blank(f"{title}: candidates", "", "", len(TASKS))
    parts = np.atleast_1d(axes).ravel()
    for part, task in zip(parts, TASKS, strict=False):
        rows = table[table["task"] == task].sort_values("log_loss", ascending=False)
        place = np.arange(len(rows))
        for row, here in zip(rows.itertuples(), place, strict=True):
            colour = COLOURS[1] if row.share else MISSING_COLOUR
            part.plot([row.log_loss_low, row.log_loss_high], [here, here], color=colour)
            part.plot(row.log_loss, here, "o", color=colour, markersize=4)
        part.set_yticks(place, rows["candidate"], fontsize=8)
        part.set_xlabel(f"{task}: log-loss (orange: serves)", fontsize=8)
        part.tick_params(axis="x", labelsize=8)
    for part in parts[len(TASKS) :]:
        part.set_axis_off()
    return written(figure, path)


def _diagonal(axes: Any, expected: Any, came: Any, name: str) -> None:
    top = 1.05 * max(float(np.max(expected)), float(np.max(came)), 1e-9)
    axes.plot([0, top], [0, top], color=MISSING_COLOUR, linewidth=1)
    axes.plot(expected, came, "o", color=COLOURS[0], markersize=4)
    axes.set_title(name, fontsize=9)
    axes.set_xlabel("foretold", fontsize=8)
    axes.set_ylabel("observed", fontsize=8)
    axes.tick_params(labelsize=8)
