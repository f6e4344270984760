"""The feed's rows in the source, with all that is wrong in them, and when they reach it."""

import numpy as np

from jobs.simulate.clock import DAY_US, Columns, concatenate, pick, stream, take
from jobs.simulate.codes import NULL
from jobs.simulate.social.feed import UNKNOWN, VIEW
from jobs.simulate.social.world import DEFECTS, FIRST_POST_ID, FIRST_USER_ID, World

COPIES = 0.01  # of rows are there twice
LATE = 0.01
LATE_DAYS = np.array([0.7, 0.2, 0.1])  # one, two and three days
WRONG_TARGET = 1 / 1_000  # of views say the opposite of what follows
UNKNOWN_ACTION, UNKNOWN_POST, NO_USER = 1 / 8_000, 1 / 8_000, 1 / 16_000
NO_SUCH_POST_ID = 90_000_000


def feed_rows(world: World, day: int, events: Columns) -> Columns:
    """Return the rows of feed_data and ``arrival``, the day number on which each reaches it.

    Columns: timestamp (microseconds since 1970), user_id, post_id, action, target, all in codes;
    NULL stands for a null id, -1 for a null target.
    """
    rng = stream(world.seed, DEFECTS, day)
    number = len(events["at"])
    arrival = events["at"] // DAY_US
    late = np.flatnonzero(rng.random(number, dtype=np.float32) < LATE)
    arrival[late] += 1 + pick(rng, LATE_DAYS, len(late))
    wrong = rng.random(number, dtype=np.float32) < WRONG_TARGET
    wrong &= events["action"] == VIEW
    rows = {
        "timestamp": events["at"],
        "user_id": FIRST_USER_ID + events["user"],
        "post_id": FIRST_POST_ID + events["post"],
        "action": events["action"],
        "target": np.where(wrong, 1 - events["target"], events["target"]),
        "arrival": arrival,
    }
    drawn = rng.random(number, dtype=np.float32)
    copied = take(rows, drawn < COPIES)

    def chosen(share: float) -> Columns:
        return take(rows, rng.random(number, dtype=np.float32) < share)

    unknown, strange, nobody = chosen(UNKNOWN_ACTION), chosen(UNKNOWN_POST), chosen(NO_USER)
    unknown["action"] = np.full(len(unknown["action"]), UNKNOWN)
    unknown["target"] = np.full(len(unknown["target"]), -1)
    strange["post_id"] = NO_SUCH_POST_ID + strange["post_id"]
    nobody["user_id"] = np.full(len(nobody["user_id"]), NULL)
    return concatenate([rows, copied, unknown, strange, nobody])
