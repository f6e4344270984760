"""The shop, day by day: a world of clients and days in, what reaches the source out.

A *cohort* is what begins on one day: the messages sent on it and the wishes to buy that arise on
it, with all that follows (opens, clicks, purchases, visits, returns) on that day and the two weeks
after. A cohort is drawn from random streams of its own day, so no day needs another to be played
first; a day's rows come from the cohorts of the ``REACH_DAYS`` before it.

A client lives, leaves, and comes back at most once. While alive, wishes to buy arise at the
client's own rate, times the season; some are dropped, the rest become a purchase within a week.
Messages go to subscribers; an opened and clicked one makes a living client buy with a chance of
its own. Nothing a client does changes the client: only the traits drawn at birth and the date
decide, which is what makes days independent and the truth (shop_truth.py) computable.
"""

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

import numpy as np

from jobs.simulate.campaigns import sends
from jobs.simulate.clients import World
from jobs.simulate.clock import DEFECTS, Columns, concatenate, day_date, day_number, stream, take
from jobs.simulate.purchases import lines, occasions, wishes
from jobs.simulate.rows import TABLES, event_rows, message_rows, purchase_rows
from jobs.simulate.visits import visit_events

# Days from a cohort's first to the last arrival of its rows or corrections: the longest way is
# open 2, buy 3, return 7, late 3; from wishes 6, 7, 3.
REACH_DAYS = 16


class Window(NamedTuple):
    """What reaches the source on the days [first, end).

    ``rows`` has each table's new rows. ``corrections`` has purchases that arrived before ``first``
    and change now, with ``new_price`` and ``new_quantity``.
    """

    first: int
    end: int
    rows: dict[str, Columns]
    corrections: Columns


def arrivals(world: World, day: date) -> Window:
    """Return what reaches the source on one day: its own rows, late ones and corrections."""
    number = day_number(day)
    return next(windows(world, number, number + 1, 1))


def windows(world: World, first: int, end: int, step: int) -> Iterator[Window]:
    """Yield what reaches the source on the day numbers [first, end), ``step`` days at a time.

    The windows of any step hold the same rows; in a longer one a correction that falls into it
    is already in the row. Memory is that of one window.

    Raises:
        ValueError: if the world is not planned for these days.
    """
    if first < world.start or end > world.end:
        raise ValueError(
            f"days {day_date(first)} to {day_date(end)}: the world is planned from "
            f"{day_date(world.start)} to {day_date(world.end)}; plan it for more days"
        )
    pending = [cohort(world, day) for day in range(max(world.start, first - REACH_DAYS), first)]
    while first < end:
        last = min(first + step, end)
        pending += [cohort(world, day) for day in range(first, last)]
        rows = {table: concatenate([part[table] for part in pending]) for table in TABLES}
        yield _window(rows, first, last)
        pending = [
            {
                table: take(columns, np.maximum(columns["arrival"], columns["correction"]) >= last)
                for table, columns in rows.items()
            }
        ]
        first = last


def cohort(world: World, day: int) -> dict[str, Columns]:
    """Return all source rows that began on a day number, whenever they reach the source.

    Each table has its columns in codes (see ``rows.frame``) and ``arrival``, ``correction``: the
    day numbers on which the row reaches the source and changes there.
    """
    sent = sends(world, day)
    wished = wishes(world, day)
    bought = occasions(world, day, sent, wished)
    bought_lines = lines(world, day, bought)
    rng = stream(world.seed, DEFECTS, day)
    return {
        "apparel_purchases": purchase_rows(rng, bought, bought_lines),
        "apparel_messages": message_rows(rng, sent, bought),
        "client_event": event_rows(
            rng, visit_events(world, day, sent, wished, bought, bought_lines)
        ),
    }


def _window(rows: dict[str, Columns], first: int, end: int) -> Window:
    """Return what of ``rows`` reaches the source in [first, end)."""
    arrived = {
        table: take(columns, (columns["arrival"] >= first) & (columns["arrival"] < end))
        for table, columns in rows.items()
    }
    purchases = arrived["apparel_purchases"]
    changed = (purchases["correction"] >= 0) & (purchases["correction"] < end)
    purchases["price"] = np.where(changed, purchases["new_price"], purchases["price"])
    purchases["quantity"] = np.where(changed, purchases["new_quantity"], purchases["quantity"])
    before = rows["apparel_purchases"]
    due = (before["arrival"] < first) & (before["correction"] >= first)
    return Window(first, end, arrived, take(before, due & (before["correction"] < end)))
