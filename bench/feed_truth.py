"""What lists earn by the simulated feed's truth: the table of docs/feed.md.

``python -m bench.feed_truth [USERS]`` simulates a feed on a throwaway server, loads it, fits both
arms as a night does (jobs/feed_recommendation), and asks the truth what each list of five would
earn on the gate's day at 18:00 UTC: the sum of the chances of a like given a view, as a share of
the best that could be achieved with the posts that the user has not viewed. The fits never see it.

ALS stands there twice: as the night has it, fitted before the days that the ranker learns from, and
fitted up to the gate's midnight (``FRESHER``); both also on the next day's likes, as the gate asks.

A/A: the users are split as the experiment splits them, and both halves get the same model's lists.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine

from bench.ground import ground
from jobs.champion.gate import mean_samples
from jobs.experiment import split
from jobs.experiment.split import Frozen
from jobs.extract.job import load_range
from jobs.extract.tables import SOCIAL
from jobs.feed_recommendation import arms, collaborative, evaluating, model, serving, training
from jobs.feed_recommendation.day import Day
from jobs.feed_recommendation.history import number
from jobs.feed_recommendation.model import MODEL, ORDERS, Fitted
from jobs.simulate.social import job as simulation
from jobs.simulate.social import truth
from jobs.simulate.social.world import World

AS_OF = date(2026, 4, 2)
DEPTH, HOUR, SAMPLE, SEED = 5, 18, 3_000, 7
FRESHER = " up to the gate"
SPLITS = 1_000
# By name: a version, and the order its candidates are put in.
Lists = Mapping[str, tuple[Fitted, str]]


def lists_of(fitted: Mapping[str, Fitted], day: Day) -> Lists:
    """Return each arm, each baseline, and what is different with a fresher collaborative part."""
    recent = collaborative.fit(arms.learners(day).history.before(day.cutoff))
    fresher = {arm: replace(version, collaborative=recent) for arm, version in fitted.items()}
    control = fitted["control"]
    return {
        **{arm: (version, MODEL) for arm, version in fitted.items()},
        **{order: (control, order) for order in ORDERS},
        f"als{FRESHER}": (fresher["control"], "als"),
        **{f"{arm}, ALS{FRESHER}": (version, MODEL) for arm, version in fresher.items()},
    }


def shares(lists: Lists, day: Day, world: World) -> pd.DataFrame:
    """Return, by user, the share of the achievable that each list earns."""
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
    for name, answer in asked_for(lists, question).items():
        listed = answer.top
        posts = day.context.post_ids[np.maximum(listed[:, :DEPTH], 0)]
        posts = np.where(listed[:, :DEPTH] >= 0, posts, -1)
        likes = truth.expected_likes(world, day.cutoff, users, posts, HOUR).sum(axis=1)
        found[name] = likes / np.where(best > 0, best, 1)
    return pd.DataFrame(found)[best > 0]


def asked_for(lists: Lists, question: evaluating.Question) -> dict[str, evaluating.Answer]:
    """Return each user's list, by the lists' names."""
    found = {}
    for version in {id(version): version for version, _ in lists.values()}.values():
        mine = {order: name for name, (each, order) in lists.items() if each is version}
        vectors = version.encoder.embed(question.day.texts)
        asked = evaluating.ask(question, version, vectors, mine)
        found |= {mine[order]: answer for order, answer in asked.items()}
    return {name: found[name] for name in lists}


def next_day(lists: Lists, day: Day) -> Iterator[str]:
    """Yield the lines of a table of what the gate asks: the day itself, its likes and its views."""
    question = evaluating.next_day(day, number(day.cutoff) + 1)
    measured = evaluating.summary(question, asked_for(lists, question))
    metrics = (evaluating.LIKES, evaluating.PRIMARY)
    measured = measured.set_index(["name", "metric"])[["value", "low", "high"]]
    yield f"\n| list | {' | '.join(metrics)} |"
    yield "|---|---|---|"
    for name in lists:
        cells = [measured.loc[(name, metric)] for metric in metrics]
        shown = [f"{value:.4f} ({low:.4f} to {high:.4f})" for value, low, high in cells]
        yield f"| {name} | {' | '.join(shown)} |"


def a_a(found: pd.DataFrame, frozen: Frozen) -> Iterator[str]:
    """Yield how far the arms are apart where both have the same lists.

    Once as the experiment splits the users, and with SPLITS other salts: one interval in twenty
    is to miss zero.
    """
    users = found["user_id"].to_numpy()
    for name in ("control", "test"):
        value = found[name].to_numpy()

        def apart(salt: str, value: NDArray[np.float64] = value) -> tuple[float, float]:
            arms = split.arm(salt, frozen.arms, frozen.shares, users)
            one, other = (value[arms == arm] for arm in frozen.arms)
            error = np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))
            return float(other.mean() - one.mean()), 1.96 * float(error)

        gap, width = apart(frozen.salt)
        missed = np.mean([abs(gap) > width for gap, width in map(apart, map(str, range(SPLITS)))])
        yield (
            f"\nA/A, {name}'s lists for both arms: {gap:+.4f} ({gap - width:+.4f} to "
            f"{gap + width:+.4f}); of {SPLITS:,} other splits {missed:.1%} show a difference"
        )


def table(found: pd.DataFrame) -> Iterator[str]:
    """Yield the lines of the table, and what the arms gain, with 95 % intervals over users."""
    names = [name for name in found.columns if name != "user_id"]
    drawn = mean_samples(found, names, "user_id")
    yield "| list | share of the achievable likes |"
    yield "|---|---|"
    for name in names:
        low, high = np.quantile(drawn[name], [0.025, 0.975])
        yield f"| {name} | {found[name].mean():.4f} ({low:.4f} to {high:.4f}) |"
    best = max(ORDERS, key=lambda name: found[name].mean())
    pairs = [("test", "control"), ("test", best), ("control", best)]
    pairs += [
        (name, name.partition(",")[0].removesuffix(FRESHER)) for name in names if FRESHER in name
    ]
    for one, other in pairs:
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
    lists = lists_of(fitted, days[-1])
    found = shares(lists, days[-1], world)
    frozen = split.frozen(warehouse, serving.EXPERIMENT, AS_OF)
    return [*table(found), *a_a(found, frozen), *next_day(lists, days[-1])]


def main(users: int) -> None:
    """Print the table."""
    with ground() as databases:
        lines = measured(databases.owner, databases.source, databases.warehouse, users)
    print(f"\n## {users:,} users\n\n" + "\n".join(lines))


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else simulation.USERS)
