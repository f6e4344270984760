"""The demo's simulated world: its size and first days, remembered in the state folder."""

import json
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from jobs.local.state import LocalError, write_private


@dataclass(frozen=True)
class World:
    """A simulated product.

    Attributes:
        clients: size of the shop.
        start: the shop's first day.
        users: size of the feed.
        feed_start: the feed's first day.
    """

    clients: int
    start: date
    users: int
    feed_start: date


def remembered(folder: Path, last: date, clients: int | None, users: int | None) -> World:
    """Return the world of the first demo in this folder; by default the simulation's own size.

    Raises:
        LocalError: if another size is asked for than the one that is there.
    """
    from jobs.simulate import job as shop
    from jobs.simulate.social import job as feed

    file = folder / "demo.json"
    there = json.loads(file.read_text()) if file.exists() else {}
    # A folder of a version without the feed gets one.
    told = {
        "clients": clients or shop.CLIENTS,
        "start": str(last - timedelta(days=shop.HISTORY_DAYS)),
        "users": users or feed.USERS,
        "feed_start": str(last - timedelta(days=feed.HISTORY_DAYS)),
    } | there
    for name, wanted in (("clients", clients), ("users", users)):
        if wanted not in (None, told[name]):
            raise LocalError(
                f"the demo in {folder} has {told[name]} {name}, not {wanted}: "
                f"`make clean` starts anew"
            )
    if told != there:
        write_private(file, json.dumps(told))
    days = {name: date.fromisoformat(told[name]) for name in ("start", "feed_start")}
    return World(clients=told["clients"], users=told["users"], **days)


def playing(folder: Path) -> date | None:
    """Return the day of the feed that was being played when the demo was interrupted, if any."""
    file = folder / "playing"
    return date.fromisoformat(file.read_text()) if file.exists() else None


def note_playing(folder: Path, day: date | None) -> None:
    """Remember which day of the feed is being played; None is none."""
    if day is None:
        (folder / "playing").unlink(missing_ok=True)
    else:
        write_private(folder / "playing", str(day))
