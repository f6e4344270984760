"""What the models read of a client, and what it is called in the reasons.

``AMOUNTS`` are amounts, counts and ages, which linear models and SMOTE see as log1p; ``MEASURES``
rates and flags, which they see as they are; ``CATEGORIES`` words. Sequences become Word2Vec vectors
(``WORDS``). Which columns a model reads is kept with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jobs.client_scores.words import Words, word_means

NO_INFORMATION = "no_information"
CHANNELS = {"email": "mail", "mobile_push": "mobile push", "web_push": "web push", "sms": "SMS"}
DONE = {"sends": "Messages", "opens": "Openings", "clicks": "Clicks"}

# The columns that a flat file brings (jobs/client_engagement/flat.py).
FLAT_AMOUNTS = {
    "total_quantity": "Pieces bought",
    "total_spent": "Spent in all, in the shop's currency",
    "avg_price": "Mean price of what was bought",
    "max_price": "Highest price of what was bought in 365 days",
    "total_clicks": "Clicks on messages in 365 days",
    "total_opens": "Openings of messages in 365 days",
    "days_since_last_purchase": "Days since the last purchase",
}
FLAT_MEASURES = {"has_interaction": "Opened or clicked a message in 365 days"}
AMOUNTS = {
    **FLAT_AMOUNTS,
    "seen_days": "Days since the client was first seen",
    "purchase_days": "Days with a purchase",
    "purchase_days_90d": "Days with a purchase in the last 90 days",
    **{
        f"{done}_{days}d": f"{words} in the last {days} days"
        for done, words in DONE.items()
        for days in (7, 30, 90)
    },
    **{
        f"{done}_{channel}_90d": f"{words} by {by} in the last 90 days"
        for channel, by in CHANNELS.items()
        for done, words in DONE.items()
    },
    "message_purchases_180d": "Purchases after a message in the last 180 days",
    "closes_180d": "Messages closed unread in the last 180 days",
    "unsubscribes_180d": "Unsubscriptions in the last 180 days",
    "complaints_180d": "Complaints in the last 180 days",
    "hard_bounces_180d": "Undeliverable messages in the last 180 days",
    "soft_bounces_180d": "Messages not delivered for now in the last 180 days",
    "days_since_send": "Days since the last message",
    "days_since_open": "Days since the last opening",
    "days_since_click": "Days since the last click",
    "days_since_unsubscribe": "Days since the last unsubscription",
}
MEASURES = {
    **FLAT_MEASURES,
    "open_rate_90d": "Openings per message in the last 90 days",
    "click_rate_90d": "Clicks per message in the last 90 days",
    "click_to_open_90d": "Clicks per opening in the last 90 days",
    "open_rate_trend": "Openings per message, 30 days against 90",
    "click_rate_trend": "Clicks per message, 30 days against 90",
}
CATEGORIES = {
    "last_event": "What the client did last",
    "usual_event": "What the client does most",
    "last_channel": "Channel of the last message",
    "usual_channel": "Channel of most messages",
}
WORDS = {
    "categories": "Which categories the client bought (Word2Vec); the value is how many",
    "touches": "Which messages and answers came in which order (Word2Vec); the value is how many",
}
FEATURES: dict[str, str] = {**AMOUNTS, **MEASURES, **CATEGORIES, **WORDS}


class InputsMissing(ValueError):
    """The dataset lacks columns."""


@dataclass(frozen=True)
class Columns:
    """The columns that one model reads, by how they are treated."""

    amounts: tuple[str, ...]
    measures: tuple[str, ...]
    categories: tuple[str, ...]
    vectors: tuple[str, ...]

    @property
    def numbers(self) -> tuple[str, ...]:
        """Return all that are numbers, in the order in which models see them."""
        return (*self.amounts, *self.measures, *self.vectors)


EVERYTHING = Columns(tuple(AMOUNTS), tuple(MEASURES), tuple(CATEGORIES), ())
FLAT = Columns(tuple(FLAT_AMOUNTS), tuple(FLAT_MEASURES), tuple(CATEGORIES), ())


def inputs(
    dataset: pd.DataFrame, columns: Columns, words: Sequence[tuple[str, Words]] = ()
) -> pd.DataFrame:
    """Return what the pipelines read: numbers as float (NaN where there is none), then words.

    Infinite numbers count as missing; a missing word is NO_INFORMATION. Each of ``words`` (the
    dataset's column and its vectors) adds one column per dimension.

    Raises:
        InputsMissing: if a column is missing.
        ValueError: if a number is none.
    """
    given = (*columns.amounts, *columns.measures, *columns.categories)
    if missing := [name for name in (*given, *(name for name, _ in words)) if name not in dataset]:
        raise InputsMissing(
            f"the dataset lacks {missing}; sql/client_engagement/dataset.sql delivers them"
        )
    made: dict[str, object] = {}
    for name in (*columns.amounts, *columns.measures):
        values = dataset[name].to_numpy(dtype=float, na_value=np.nan)
        made[name] = np.where(np.isfinite(values), values, np.nan)
    for name, vectors in words:
        for place, mean in enumerate(word_means(vectors, dataset[name]).T):
            made[f"{name}_{place}"] = mean.astype(float)
    for name in columns.categories:
        made[name] = dataset[name].astype(object).where(dataset[name].notna(), NO_INFORMATION)
    return pd.DataFrame(made, index=dataset.index)[[*columns.numbers, *columns.categories]]


def feature_of(column: str) -> str:
    """Return the feature that a column of ``inputs`` belongs to: itself, or its sequence."""
    sequence, _, place = column.rpartition("_")
    return sequence if sequence in WORDS and place.isdigit() else column


def shown(dataset: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return features as the reasons show them: numbers, NaN for words and what is missing."""
    found: dict[str, object] = {}
    for name in names:
        if name in WORDS:
            found[name] = [np.nan if ids is None else float(len(ids)) for ids in dataset[name]]
        elif name in CATEGORIES:
            found[name] = np.full(len(dataset), np.nan)
        else:
            found[name] = dataset[name].to_numpy(dtype=float, na_value=np.nan)
    return pd.DataFrame(found, index=dataset.index)
