"""Posts as models read them, and what came of their views."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.post_conversion import rates
from jobs.post_conversion.layout import NAMES, layout

# Action -> its column in posts.sql.
ACTIONS = {"like": "likes", "share": "shares", "comment": "comments", "hide": "hides"}
WINDOW_DAYS = 7
# Rates of topics are drawn towards that of all posts as so many views would.
TOPIC_VIEWS = 200.0
# One post says no more of its topic than so many views, however many it had.
POST_VIEWS = 20_000.0

Matrix = NDArray[np.float32]
Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """Posts, one an entry.

    Attributes:
        posts: rows of posts.sql.
        actions: those that the source has.
        layout: numbers of each post (`NUMBERS`, then the past log-odds of its topic by action).
        vectors: what each text encoder makes of the texts, by its name; rows of length 1.
        picture: what the picture encoder makes of the pictures; zeros where there is none.
        has_picture: whether there is one, and it could be read.
        tables: what was made of the texts so far, by what made it (`words.Words`).
    """

    posts: pd.DataFrame
    actions: tuple[str, ...]
    layout: Matrix
    vectors: Mapping[str, Matrix]
    picture: Matrix
    has_picture: Flags
    tables: dict[object, Any] = field(default_factory=dict, repr=False, compare=False)

    def where(self, kept: Flags | NDArray[np.intp]) -> "Rows":
        """Return some of the posts."""
        return Rows(
            self.posts.iloc[np.flatnonzero(kept) if kept.dtype == bool else kept],
            self.actions,
            self.layout[kept],
            {name: each[kept] for name, each in self.vectors.items()},
            self.picture[kept],
            self.has_picture[kept],
        )

    def without_pictures(self) -> "Rows":
        """Return the same posts as if none had a picture."""
        nothing = np.zeros_like(self.picture)
        return Rows(
            self.posts, self.actions, self.layout, self.vectors, nothing,
            np.zeros_like(self.has_picture), self.tables,
        )  # fmt: skip

    @property
    def texts(self) -> list[str]:
        """Return the texts."""
        return self.posts["text"].tolist()

    @property
    def views(self) -> Numbers:
        """Return how often each post was viewed in its window."""
        return np.asarray(self.posts["views"].to_numpy(float), float)

    def counts(self) -> Numbers:
        """Return how many views ended in each action: posts x actions, at most the views."""
        columns = self.posts[[ACTIONS[action] for action in self.actions]].to_numpy(float)
        return np.asarray(np.minimum(columns, self.views[:, None]))


# Of the layout, before the topics' rates.
NUMBERS = (*NAMES, "hour_sin", "hour_cos", "weekend")


def numbers(actions: Sequence[str]) -> list[str]:
    """Return what the columns of a layout are called."""
    return [*NUMBERS, *(f"topic_{action}_log_odds" for action in actions)]


def build(
    posts: pd.DataFrame,
    actions: Sequence[str],
    vectors: Mapping[str, Matrix],
    pictures: pd.DataFrame,
    history: pd.DataFrame | None = None,
    picture_width: int = 0,
) -> Rows:
    """Return the posts as models read them.

    Args:
        posts: rows of posts.sql.
        actions: those that the source has.
        vectors: of each text encoder, in the order of ``posts``.
        pictures: post_id, uri and vector of the pictures that could be read, all of one length; or
            `no_pictures`.
        history: rows of posts.sql that topics' past rates are counted from; default ``posts``.
        picture_width: length of a picture's vector, where ``pictures`` has none.
    """
    posts = posts.reset_index(drop=True)
    found = posts[["post_id", "uri"]].merge(pictures, how="left", on=["post_id", "uri"])
    has_picture = found["vector"].notna().to_numpy()
    width = len(pictures["vector"].iloc[0]) if len(pictures) else picture_width
    picture = np.zeros((len(posts), width), np.float32)
    if has_picture.any():
        picture[has_picture] = np.stack(found.loc[has_picture, "vector"].tolist())
    clock = posts["published_at"].dt.tz_convert("UTC")
    angle = 2 * np.pi * (clock.dt.hour + clock.dt.minute / 60) / 24
    moment = np.column_stack([np.sin(angle), np.cos(angle), clock.dt.dayofweek >= 5])
    past = topic_log_odds(posts if history is None else history, posts, actions)
    table = np.column_stack([layout(posts["text"].tolist()), moment, past]).astype(np.float32)
    return Rows(posts, tuple(actions), table, dict(vectors), picture, has_picture)


def no_pictures() -> pd.DataFrame:
    """Return what `build` takes where no picture is read."""
    empty: dict[str, list[object]] = {"post_id": [], "uri": [], "vector": []}
    return pd.DataFrame(empty).astype({"post_id": "int64", "uri": "str"})


def topic_log_odds(
    history: pd.DataFrame, posts: pd.DataFrame, actions: Sequence[str]
) -> NDArray[np.float64]:
    """Return, for each post and action, the log-odds of its topic's rate before it was published.

    Counted are posts whose windows were over by then, with what was known the morning after each
    of their days, a post of very many views for no more than POST_VIEWS; topics' rates are drawn
    towards that of all posts.
    """
    told = ["views_on_time", *(f"{ACTIONS[action]}_on_time" for action in actions)]
    over = pd.to_datetime(history["published_day"]) + pd.Timedelta(days=WINDOW_DAYS)
    views = history["views_on_time"].to_numpy(float)
    share = np.minimum(1, POST_VIEWS / np.maximum(views, 1))
    counted = history[["topic", *told]].assign(over=over)
    # Counters that are not of one moment tell of more likes than views.
    counted[told] = np.minimum(counted[told].to_numpy(float), views[:, None]) * share[:, None]
    asked = pd.to_datetime(posts["published_day"])
    total = _before(counted.drop(columns="topic"), asked, told)
    found = np.zeros((len(posts), 1 + len(actions)))
    for topic, rows in posts.groupby("topic").indices.items():
        own = counted[counted["topic"] == topic].drop(columns="topic")
        found[rows] = _before(own, asked.iloc[rows], told)
    # One like in two views where nothing is known yet would be bold.
    overall = (total[:, 1:] + 1) / (total[:, :1] + 100)
    return rates.shrunk(found[:, 1:], found[:, :1], overall, TOPIC_VIEWS)


def _before(counted: pd.DataFrame, asked: pd.Series, told: list[str]) -> Numbers:
    """Return the sums of ``told`` over rows that were over by each of the days asked for."""
    ordered = counted.sort_values("over", kind="stable")
    sums = np.vstack([np.zeros(len(told)), ordered[told].to_numpy(float).cumsum(axis=0)])
    return np.asarray(sums[np.searchsorted(ordered["over"], asked, side="right")])
