"""Posts whose words and pictures are known to move their rates, for tests of what is learned."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd

from jobs.post_conversion.rows import ACTIONS, WINDOW_DAYS

FIRST_DAY = date(2026, 1, 1)
FIRST_ID = 1000
RATE = {"like": -2.2, "share": -4.2, "comment": -4.0, "hide": -4.6}
# Words that move an action's log-odds, and many that move none.
TELLING = {
    "like": {"котик": 0.7, "wonderful": 0.7, "счета": -0.7, "invoice": -0.7},
    "share": {"срочно": 0.9, "guide": 0.9},
    "comment": {"спорим": 0.9, "opinion": 0.9},
    "hide": {"реклама": 1.0, "casino": 1.0},
}
NOISE = ["дом", "день", "город", "house", "window", "paper", "lamp", "зима", "вода", "table"]
TOPICS = {"sport": 0.3, "movie": 0.0, "finance": -0.3}
PICTURE_WEIGHT = 0.5
SPREAD = 0.15  # of the log-odds, by what nobody can see


def draw(posts: int = 400, days: int = 100, seed: int = 3) -> pd.DataFrame:
    """Return posts with what came of their views by day.

    Columns: post_id, published_at, text, topic, uri (every second has one), appeal (of the
    picture, -1 to 1; moves likes only), views and counts (lists: of each of the days after
    publishing, the first included).
    """
    random = np.random.default_rng(seed)
    words = [word for known in TELLING.values() for word in known]
    seconds = np.sort(random.integers(0, days * 86_400, posts))
    topic = random.choice(list(TOPICS), posts)
    uri = [f"{FIRST_ID + n}.png" if n % 2 else None for n in range(posts)]
    appeal = np.where(np.arange(posts) % 2, random.uniform(-1, 1, posts), 0.0)
    told = []
    for _ in range(posts):
        chosen = [word for word in words if random.random() < 0.25]
        said = [*chosen, *random.choice(NOISE, 6)]
        random.shuffle(said)
        told.append(said)
    begin = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC)
    views = random.poisson(random.lognormal(4.0, 0.8, (posts, 1)), (posts, WINDOW_DAYS + 3)) + 1
    found = {
        "post_id": FIRST_ID + np.arange(posts),
        "published_at": [begin + timedelta(seconds=int(each)) for each in seconds],
        "text": [" ".join(each) for each in told],
        "topic": topic,
        "uri": uri,
        "appeal": appeal,
        "views": list(views),
    }
    for action, base in RATE.items():
        moved = base + np.array([TOPICS[each] for each in topic])
        moved += [sum(TELLING[action].get(word, 0) for word in each) for each in told]
        moved += random.normal(0, SPREAD, posts)
        if action == "like":
            moved += PICTURE_WEIGHT * appeal
        rate = 1 / (1 + np.exp(-moved))
        found[ACTIONS[action]] = list(random.binomial(views, rate[:, None]))
        found[f"{action}_rate"] = rate
    return pd.DataFrame(found)


def frame(posts: pd.DataFrame, as_of: date) -> pd.DataFrame:
    """Return what posts.sql would say of them on a day, if every row came on time."""
    told = posts[["post_id", "published_at", "text", "topic", "uri"]].copy()
    told["published_day"] = [each.date() for each in posts["published_at"]]
    told = told[told["published_day"] < as_of]
    told["text_md5"] = told["text"]
    age = np.array([(as_of - day).days for day in told["published_day"]])
    told["mature"] = age >= WINDOW_DAYS
    for column in ("views", *ACTIONS.values()):
        by_day = np.stack(posts.loc[told.index, column])
        there = np.arange(by_day.shape[1]) < age[:, None]
        told[f"{column}_all"] = (by_day * there).sum(axis=1)
        window = (by_day * there)[:, :WINDOW_DAYS].sum(axis=1)
        told[column] = told[f"{column}_on_time"] = window
    return told.reset_index(drop=True)
