"""Which posts a night learns from, and which its gate asks about."""

from datetime import date, timedelta

import pandas as pd

from jobs.post_conversion.rows import WINDOW_DAYS

# The gate asks about the posts of so many days, the newest whose windows are over.
GATE_DAYS = 21
# What more posts would teach is little, and the candidates' time grows with them.
LEARNED_POSTS = 30_000


def gate_posts(found: pd.DataFrame, as_of: date) -> pd.DataFrame:
    """Return the posts that the gate asks about: GATE_DAYS of them, their windows just over."""
    published = pd.to_datetime(found["published_day"])
    return found[found["mature"] & (published >= pd.Timestamp(gate_begin(as_of)))]


def learning_posts(found: pd.DataFrame, as_of: date) -> pd.DataFrame:
    """Return the posts whose windows were over before the gate's first post was published.

    Of more than LEARNED_POSTS, the newest.
    """
    published = pd.to_datetime(found["published_day"])
    last = gate_begin(as_of) - timedelta(days=WINDOW_DAYS)
    known = found[published <= pd.Timestamp(last)]
    newest = known.sort_values(["published_at", "post_id"]).index[-LEARNED_POSTS:]
    return known.loc[newest.sort_values()]


def gate_begin(as_of: date) -> date:
    """Return the day from which on the gate's posts were published."""
    return as_of - timedelta(days=WINDOW_DAYS + GATE_DAYS)
