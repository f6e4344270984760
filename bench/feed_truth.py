"""What lists earn by the simulated feed's truth: the table of docs/feed.md.

``python -m bench.feed_truth [USERS]`` simulates a feed on a throwaway server, loads it, fits both
arms as a night does (jobs/feed_recommendation), and asks the truth what each list of five would
earn on the gate's day at 18:00 UTC: the sum of the chances of a like given a view, as a share of
the best that could be achieved with the posts that the user has not viewed. The fits never see it.
"""

import sys
from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from bench.ground import ground
from jobs.champion.gate import mean_samples
from jobs.extract.job import load_range
from jobs.extract.tables import SOCIAL
from jobs.feed_recommendation import arms, collaborative, evaluating, model, training
from jobs.feed_recommendation.day import Day
from jobs.feed_recommendation.model import MODEL, Fitted
from jobs.simulate.social import job as simulation
from jobs.simulate.social import truth
from jobs.simulate.social.world import World

AS_OF = date(2026, 4, 2)
DEPTH, HOUR, SAMPLE, SEED = 5, 18, 3_000, 7
BASELINES = ("popular_7d", "popular_30d", "popular_all", "als", "random")


def shares(fitted: dict[str, Fitted], day: Day, world: World) -> pd.DataFrame:
    """Return, by user, the share of the achievable that each arm's and baseline's list earns."""
    random = np.random.default_rng(SEED)
    size = min(SAMPLE, len(day.users))
    asked = day.of(np.sort(random.choice(len(day.users), size, replace=False)))
    users = asked.users["user_id"].to_numpy()
    before = asked.history.before(day.cutoff)
    place, there = model.places(day.context.post_ids, before.posts)
    seen = np.zeros((size, len(day.context.post_ids)), np.bool_)
    kept = there[before.post]
    seen[before.user[kept], place[before.post[kept]]] = True
    _, most = truth.best(world, day.cutoff, users, DEPTH, day.context.post_ids, HOUR, seen)
    best = most.sum(axis=1)
    question = evaluating.Question(
        asked, np.zeros(0, np.int64), np.zeros(0, np.int64), np.full(size, HOUR)
    )
    found = {"user_id": users}
    for arm, version in fitted.items():
        orders = [MODEL, *BASELINES] if arm == "control" else [MODEL]
        vectors = version.encoder.embed(day.texts)
        for order, lists in evaluating.ask(question, version, vectors, orders).items():
            posts = day.context.post_ids[np.maximum(lists[:, :DEPTH], 0)]
            posts = np.where(lists[:, :DEPTH] >= 0, posts, -1)
            likes = truth.expected_likes(world, day.cutoff, users, posts, HOUR).sum(axis=1)
            found[arm if order == MODEL else order] = likes / np.where(best > 0, best, 1)
    return pd.DataFrame(found)[best > 0]


def table(found: pd.DataFrame) -> Iterator[str]:
    """Yield the lines of the table, and what the arms gain, with 95 % intervals over users."""
    names = [name for name in found.columns if name != "user_id"]
    drawn = mean_samples(found, names, "user_id")
    yield "| list | share of the achievable likes |"
    yield "|---|---|"
    for name in names:
        low, high = np.quantile(drawn[name], [0.025, 0.975])
        yield f"| {name} | {found[name].mean():.4f} ({low:.4f} to {high:.4f}) |"
    popular = max((name for name in BASELINES if name != "random"), key=lambda n: found[n].mean())
    for one, other in (("test", "control"), ("test", popular), ("control", popular)):
        gain = found[one].mean() - found[other].mean()
        low, high = np.quantile(drawn[one] - drawn[other], [0.025, 0.975])
        yield f"\n{one} minus {other}: {gain:+.4f} ({low:+.4f} to {high:+.4f})"


def measured(owner: Engine, source: Engine, warehouse: Engine, users: int) -> list[str]:
    """Return the table of a feed of so many users."""
    start = AS_OF - timedelta(days=simulation.HISTORY_DAYS)
    simulation.simulate(owner, users=users, start=start, end=AS_OF)
    load_range(source, warehouse, start, AS_OF - timedelta(days=1), SOCIAL, allow_empty=True)
    days = arms.read_days(warehouse, AS_OF)
    learning = [arms.learners(day) for day in days[:-1]]
    shared = collaborative.fit(learning[0].history.before(learning[0].cutoff))
    fitted = {
        arm: training.fit(
            arm, training.fit_encoder(arm, learning[0]), shared, learning, days[-1].cutoff
        )
        for arm in training.ARMS
    }
    world = simulation.world(owner, AS_OF + timedelta(days=1))
    return list(table(shares(fitted, days[-1], world)))


def main(users: int) -> None:
    """Print the table."""
    with ground() as databases:
        lines = measured(databases.owner, databases.source, databases.warehouse, users)
    print(f"\n## {users:,} users\n\n" + "\n".join(lines))


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else simulation.USERS)
