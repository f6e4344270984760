"""The source's rows: what happened, in its tables' columns, with all that is wrong in them."""

import numpy as np
import pandas as pd

from jobs.simulate.catalog import FIRST_PRODUCT_ID
from jobs.simulate.clients import FIRST_CLIENT_ID, World
from jobs.simulate.clock import DAY_US, Array, Columns, concatenate, mix, pick, take
from jobs.simulate.codes import (
    BOUGHT,
    CHANNELS,
    CLICK,
    CLOSE,
    COMPLAIN,
    EVENT_TYPES,
    EVENTS,
    HARD_BOUNCE,
    NULL,
    OPEN,
    SEND,
    SOFT_BOUNCE,
    UNKNOWN,
    UNKNOWN_TYPE,
    UNSUBSCRIBE,
)

COPIES = np.array([0.62, 0.28, 0.08, 0.02])  # of a purchase line: 1.5 on average, a third surplus
COPY_LATER = 0.05  # of surplus copies reach the source on a day of their own
MESSAGE_COPIES, EVENT_COPIES = 0.03, 0.01
LATE = {"apparel_purchases": 0.02, "apparel_messages": 0.01, "client_event": 0.01}
LATE_DAYS = np.array([0.7, 0.2, 0.1])  # one, two and three days
CORRECTED = 15  # of 1000 purchase lines change price or quantity one or two days later
NO_CREATED_AT = 0.005
NEGATIVE_PRICE, PURCHASE_NO_CLIENT = 1 / 1_000, 1 / 2_000
UNKNOWN_EVENT, MESSAGE_NO_CLIENT = 1 / 8_000, 1 / 16_000
UNKNOWN_EVENT_TYPE, EVENT_NO_CLIENT = 1 / 8_000, 1 / 16_000

# each source table's columns; a column of codes has the texts they stand for
TABLES: dict[str, dict[str, tuple[str, ...]]] = {
    "apparel_purchases": {
        **{"client_id": (), "quantity": (), "price": (), "category_ids": ()},
        **{"date": (), "message_id": ()},
    },
    "apparel_messages": {
        **{"bulk_campaign_id": (), "client_id": (), "message_id": (), "event": EVENTS},
        **{"channel": CHANNELS, "date": (), "created_at": ()},
    },
    "client_event": {
        **{"client_id": (), "event_time": (), "event_type": EVENT_TYPES, "product_id": ()},
    },
}


def purchase_rows(rng: np.random.Generator, occasions: Columns, lines: Columns) -> Columns:
    """Return the rows of apparel_purchases, copies and offenders among them."""
    table = "apparel_purchases"
    rows = {
        "client_id": _client_id(lines["client"]),
        "quantity": lines["quantity"],
        "price": lines["price"],
        "category_ids": lines["category"],
        "date": lines["day"],
        "message_id": lines["message"],
        "arrival": _arrival(rng, lines["day"], table),
    }
    # equal rows must change together or not at all: what is in the row decides
    key = mix(rows["client_id"].astype(np.uint64)) ^ rows["price"].view(np.uint64)
    key = mix(mix(key) ^ (rows["category_ids"] * 8 + rows["quantity"]).astype(np.uint64))
    key = mix(key ^ rows["date"].astype(np.uint64))
    corrected = key % np.uint64(1000) < CORRECTED
    later = rows["date"] + 1 + (key >> np.uint64(32)).astype(np.int64) % 2
    rows["correction"] = np.where(corrected, later, -1)
    cheaper = (key >> np.uint64(40)) % np.uint64(2) == 0
    rows["new_price"] = np.where(cheaper, np.round(0.9 * rows["price"], 2), rows["price"])
    rows["new_quantity"] = rows["quantity"] + np.where(cheaper, 0, 1)

    copies = 1 + pick(rng, COPIES, len(rows["price"]))
    place = np.repeat(np.arange(len(copies)), copies)
    surplus = np.concatenate([[False], place[1:] == place[:-1]]) if len(place) else place > 0
    copied = take(rows, place)
    apart = surplus & (rng.random(len(place)) < COPY_LATER)
    copied["arrival"] = np.where(
        apart, copied["date"] + rng.integers(1, 4, len(place)), copied["arrival"]
    )
    negative = take(rows, rng.random(len(copies)) < NEGATIVE_PRICE)
    negative["price"] = -negative["price"]
    nobody = take(rows, rng.random(len(copies)) < PURCHASE_NO_CLIENT)
    nobody["client_id"] = np.full(len(nobody["client_id"]), NULL)
    for offenders in (negative, nobody):
        offenders["correction"] = np.full(len(offenders["correction"]), -1)
    return concatenate([copied, negative, nobody])


def message_rows(rng: np.random.Generator, sent: Columns, occasions: Columns) -> Columns:
    """Return the rows of apparel_messages, copies and offenders among them."""
    tied = occasions["message"] > 0
    ends = sent["ending"] >= 0
    steps = [
        (SEND, np.ones(len(ends), dtype=bool), "sent_at"),
        (OPEN, sent["opened"], "open_at"),
        (OPEN, sent["again"], "again_at"),
        (CLICK, sent["clicked"], "click_at"),
        (CLOSE, sent["closed"], "close_at"),
        (SOFT_BOUNCE, sent["soft"], "close_at"),
    ]
    for event, time in (
        (UNSUBSCRIBE, "again_at"),
        (COMPLAIN, "close_at"),
        (HARD_BOUNCE, "close_at"),
    ):
        steps.append((event, ends & (sent["ending"] == event), time))
    parts = [
        {
            "bulk_campaign_id": sent["campaign"][chosen],
            "client_id": sent["client"][chosen],
            "message_id": sent["message"][chosen],
            "event": np.full(int(chosen.sum()), event),
            "channel": sent["channel"][chosen],
            "created_at": sent[time][chosen],
        }
        for event, chosen, time in steps
    ]
    parts.append(
        {
            "bulk_campaign_id": occasions["campaign"][tied],
            "client_id": occasions["client"][tied],
            "message_id": occasions["message"][tied],
            "event": np.full(int(tied.sum()), BOUGHT),
            "channel": occasions["channel"][tied],
            "created_at": occasions["at"][tied],
        }
    )
    rows = concatenate(parts)
    rows["client_id"] = _client_id(rows["client_id"])
    day = rows["created_at"] // DAY_US
    # a row written in the day's last seconds carries the next day's date now and then
    tardy = rows["created_at"] % DAY_US >= DAY_US - 600_000_000
    tardy &= rng.random(len(day)) < 0.5
    absent = rng.random(len(day)) < NO_CREATED_AT
    rows["date"] = day + (tardy & ~absent)
    rows["arrival"] = _arrival(rng, day, "apparel_messages")
    rows["correction"] = np.full(len(day), -1)
    rows["created_at"] = np.where(absent, NULL, rows["created_at"])
    copied = take(rows, rng.random(len(day)) < MESSAGE_COPIES)
    unknown = take(rows, rng.random(len(day)) < UNKNOWN_EVENT)
    unknown["event"] = np.full(len(unknown["event"]), UNKNOWN)
    nobody = take(rows, rng.random(len(day)) < MESSAGE_NO_CLIENT)
    nobody["client_id"] = np.full(len(nobody["client_id"]), NULL)
    return concatenate([rows, copied, unknown, nobody])


def event_rows(rng: np.random.Generator, events: Columns) -> Columns:
    """Return the rows of client_event, copies and offenders among them."""
    number = len(events["day"])
    rows = {
        "client_id": _client_id(events["client"]),
        "event_time": events["at"],
        "event_type": events["type"],
        "product_id": FIRST_PRODUCT_ID + events["product"],
        "arrival": _arrival(rng, events["day"], "client_event"),
        "correction": np.full(number, -1),
    }
    copied = take(rows, rng.random(number) < EVENT_COPIES)
    unknown = take(rows, rng.random(number) < UNKNOWN_EVENT_TYPE)
    unknown["event_type"] = np.full(len(unknown["event_type"]), UNKNOWN_TYPE)
    nobody = take(rows, rng.random(number) < EVENT_NO_CLIENT)
    nobody["client_id"] = np.full(len(nobody["client_id"]), NULL)
    return concatenate([rows, copied, unknown, nobody])


def frame(world: World, table: str, columns: Columns) -> pd.DataFrame:
    """Return rows as the source shows them: texts for codes, nulls for their stand-ins."""
    shown: dict[str, pd.Series] = {}
    for name, texts in TABLES[table].items():
        values = columns[name]
        if name == "message_id":
            shown[name] = pd.Series([f"{number:016x}" if number else None for number in values])
        elif name == "category_ids":
            shown[name] = pd.Series(np.array(world.catalog.category_texts, dtype=object)[values])
        elif texts:
            shown[name] = pd.Series(np.array(texts, dtype=object)[values])
        elif name == "date":
            shown[name] = pd.Series(values.astype("datetime64[D]"))
        elif name in ("created_at", "event_time"):
            shown[name] = pd.Series(values.astype("datetime64[us]"))  # NULL is NaT there
        elif name in ("client_id", "product_id", "bulk_campaign_id"):
            shown[name] = pd.Series(values).astype("Int64").mask(values == NULL)
        else:
            shown[name] = pd.Series(values)
    return pd.DataFrame(shown)


def _arrival(rng: np.random.Generator, day: Array, table: str) -> Array:
    """Return the day on which each row of an event day reaches the source."""
    late = np.flatnonzero(rng.random(len(day)) < LATE[table])
    arrival = day.copy()
    arrival[late] += 1 + pick(rng, LATE_DAYS, len(late))
    return arrival


def _client_id(client: Array) -> Array:
    return np.asarray(FIRST_CLIENT_ID + client, dtype=np.int64)
