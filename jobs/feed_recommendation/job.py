"""The feed: read, train both arms, gate each, list posts for everybody and every hour, publish."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Engine, text

from jobs import champion, settings
from jobs.champion import Gate, Version
from jobs.checks import validate
from jobs.experiment import split
from jobs.feed_recommendation import (
    collaborative,
    context,
    evaluating,
    kept,
    lists,
    model,
    pictures,
    reading,
    training,
)
from jobs.feed_recommendation.context import Context
from jobs.feed_recommendation.day import Day, build
from jobs.feed_recommendation.evaluating import PRIMARY, Question
from jobs.feed_recommendation.history import number
from jobs.feed_recommendation.model import MODEL, ORDERS
from jobs.feed_recommendation.training import JOB
from jobs.publish import publish as publish_day
from jobs.publish import stage
from jobs.warehouse import airflow_run_id, named_failures, only_run, read_sql

TABLE = "result.feed_recommendation"
EXPERIMENT = "feed"
NO_ARM = "none"
# A night learns from so many days; what is older says little of tomorrow's likes.
HISTORY_DAYS = 60
# Of users left out of every fit: their last likes test what was learned (evaluating.last_like).
HELD_OUT, HELD_OUT_SALT = 0.1, "feed-held-out"
PLAIN = ("popular_all", "popular_7d", "popular_30d", "als", "random")
SHAPE = (
    "user_id bigint, day_part smallint, arm text, model_version text, post_ids bigint[],"
    " scores real[], sources smallint[]"
)
STAGED = pa.schema(
    [
        ("user_id", pa.int64()),
        ("day_part", pa.int16()),
        ("arm", pa.string()),
        ("model_version", pa.string()),
        ("post_ids", pa.list_(pa.int64())),
        ("scores", pa.list_(pa.float32())),
        ("sources", pa.list_(pa.int16())),
    ]
)
# Each arm's version by the arm's name.
Versions = dict[str, str]


def gate(arm: str) -> Gate:
    """Return how versions of an arm replace each other; the floor is set to the best source."""
    return Gate(
        job=f"{JOB}.{arm}",
        metric=PRIMARY,
        horizon_days=1,
        margin=0.002,
        max_age_days=7,
        cadence_days=1,
        calibration_bound=None,
        unit="user_id",
        floor="popular_7d",
        per_row=True,
    )


def day_parts() -> tuple[int, ...]:
    """Return the first UTC hours of the parts of the day: NIGHTSHIFT_DAY_PARTS, 4 by default.

    Raises:
        BadSetting: if it is not a number from 1 to 24.
    """
    value = settings.setting("NIGHTSHIFT_DAY_PARTS", "4")
    if not value.isdecimal() or not 1 <= int(value) <= 24:
        raise settings.BadSetting(
            f"NIGHTSHIFT_DAY_PARTS is {value!r}; expected a number of parts from 1 to 24"
        )
    return tuple(-(-24 * part // int(value)) for part in range(int(value)))


def run(
    engine: Engine,
    as_of: date,
    retrain: bool = False,
    model_version: str | None = None,
    shards: int = 1,
) -> int:
    """Do a whole night for ``as_of``: train, gate, score, publish, look back; return the rows.

    Raises:
        AlreadyRunning: if another process works on the same day.
    """
    with only_run(engine, f"run {JOB}", as_of):
        versions = train(engine, as_of, retrain, model_version)
        for shard in range(shards):
            score(engine, as_of, versions, shard, shards)
        published = publish(engine, as_of, versions, shards)
        mature(engine, as_of)
    return published


def train(
    engine: Engine, as_of: date, retrain: bool = False, model_version: str | None = None
) -> Versions:
    """Return each arm's version that serves ``as_of``: train what is missing, let the gates decide.

    What all parts of the day's scoring share is prepared as well.

    A day that has versions keeps them, unless ``retrain``. A ``model_version`` that is named serves
    its arm as it is; the other arm has the version that is live.

    Raises:
        UnknownVersion, VersionNotAllowed: if the named version does not exist, is no version of
            this job, or knows what happened after ``as_of``.
        NothingToLearnFrom: if there is no history to learn from.
    """
    with only_run(engine, f"train {JOB}", as_of):
        named: Versions = {}
        if model_version:
            arm = kept.arm_of(engine, model_version, as_of)
            named[arm] = model_version
        with engine.connect() as connection:
            for arm in training.ARMS:
                live = champion.live_version(connection, f"{JOB}.{arm}", as_of)
                if model_version and arm not in named and live:
                    named[arm] = live
            trained = {
                arm: champion.trained_version(connection, f"{JOB}.{arm}", as_of)
                for arm in training.ARMS
            }
        wanted = [arm for arm in training.ARMS if arm not in named]
        if wanted:
            ground = read_days(engine, as_of)
            fresh: dict[str, dict[str, NDArray[np.int32]]] = {}
            missing = [arm for arm in wanted if retrain or trained[arm] is None]
            shared = (
                collaborative.fit(learners(ground[0]).history.before(ground[0].cutoff))
                if missing
                else None
            )
            for arm in missing:
                assert shared is not None
                trained[arm], fresh[arm] = _train(engine, as_of, arm, ground, shared)
            question = evaluating.next_day(ground[-1], number(as_of))
            for arm in wanted:
                version = trained[arm]
                assert version is not None
                named[arm] = _decide(
                    engine, as_of, arm, version, question, fresh.get(arm, {}), retrain
                )
        versions = {arm: named[arm] for arm in training.ARMS}
        _prepare(engine, as_of, versions)
    return versions


def _prepare(engine: Engine, as_of: date, versions: Versions) -> None:
    """Keep what all parts of the day share: posts and groups on ``as_of``, and the texts' vectors.

    New texts get their vectors from the encoder of the version that serves.
    """
    users = reading.read_users(engine, as_of)
    posts = reading.read_posts(engine, as_of)
    _require_rows(users, posts, as_of)
    history = reading.read_history(
        engine,
        as_of,
        users,
        posts["post_id"].to_numpy(np.int64),
        first_day=as_of - timedelta(days=context.WINDOW_DAYS),
    )
    found = context.build(as_of, posts, users, history)
    vectors = {
        f"vectors.{arm}": kept.embed(engine, version, posts) for arm, version in versions.items()
    }
    reading.keep(engine, _prepared(as_of), context.pack(found) | vectors)


def score(engine: Engine, as_of: date, versions: Versions, shard: int, shards: int) -> int:
    """Make the lists of one hash range of the users into its staging table; return their number.

    Raises:
        NotPrepared: if `train` has not run.
        WarehouseFull, WarehouseUnreachable: what was staged is undone.
    """
    made = 0

    def blocks() -> Iterator[pa.Table]:
        nonlocal made
        for arm, fitted in models.items():
            mine = np.flatnonzero(serving == arm)
            chosen = users.iloc[mine].reset_index(drop=True)
            theirs = history.of(mine)
            for block, table in model.prepare(
                fitted, found, packed[f"vectors.{arm}"], chosen, theirs
            ):
                rows = chosen.iloc[block]
                for first, hour in zip(parts, middles, strict=True):
                    ranked = model.rank(
                        fitted, found, table, rows, np.full(len(rows), hour, np.int64)
                    )
                    made += len(rows)
                    yield _as_rows(found, ranked, rows, arms[mine[block]], first, versions[arm])

    with named_failures(engine, f"score {JOB} {as_of}"):
        packed = reading.kept(engine, _prepared(as_of))
        found = context.unpack(
            {name: value for name, value in packed.items() if not name.startswith("vectors.")}
        )
        parts = day_parts()
        middles = [(first + last) // 2 for first, last in zip(parts, [*parts[1:], 24], strict=True)]
        users = reading.read_users(engine, as_of, shard, shards)
        frozen = split.frozen(engine, EXPERIMENT, as_of)
        arms = split.arm(frozen.salt, frozen.arms, frozen.shares, users["user_id"].to_numpy())
        # Who takes no part in the experiment gets the control's lists, and is not counted in it.
        serving = np.where(arms == None, training.ARMS[0], arms)  # noqa: E711
        arms = np.where(arms == None, NO_ARM, arms)  # noqa: E711
        models = {arm: kept.load(engine, version) for arm, version in versions.items()}
        history = reading.read_history(
            engine, as_of, users, found.post_ids, shard=shard, shards=shards
        )
        stage(engine, TABLE, as_of, _part(shard, shards), SHAPE, blocks())
    return made


def publish(engine: Engine, as_of: date, versions: Versions, shards: int) -> int:
    """Check the scored parts and make them the day that readers see; return its rows."""
    from jobs.feed_recommendation import expectations

    staged = [f"{JOB}_{as_of:%Y%m%d}_{_part(shard, shards)}" for shard in range(shards)]
    suite = expectations.lists(training.ARMS, day_parts())
    for name in staged:
        validate(engine, "staging", name, suite, TABLE, as_of, ("user_id", "day_part"))
    packed = reading.kept(engine, _prepared(as_of))
    found = context.unpack(
        {name: value for name, value in packed.items() if not name.startswith("vectors.")}
    )
    with engine.connect() as connection:
        runs = [
            champion.described(connection, version)["mlflow_run_id"]
            for version in versions.values()
        ]
    published = publish_day(
        engine,
        TABLE,
        as_of,
        staged,
        "feed_recommendation/publish.sql",
        ", ".join(versions.values()),
        mlflow_run_id=", ".join(dict.fromkeys(filter(None, runs))) or None,
        alongside={
            "feed_recommendation/popular.sql": {
                "as_of": as_of,
                "lists": json.dumps(_popular(found)),
            }
        },
    )
    reading.drop(engine, _prepared(as_of))
    return published.rows


def mature(engine: Engine, as_of: date) -> int:
    """Compare the lists of the day before with what their users liked on it; return the users.

    Kept as bi.model_quality, stage matured, one name for each arm. 0 where that day has no lists
    or nobody liked anything new.
    """
    day = as_of - timedelta(days=1)
    with engine.connect() as connection:
        served = connection.execute(
            text(
                "select model_version from ops.publication where table_name = :table"
                " and as_of = :day order by publication_id desc limit 1"
            ),
            {"table": TABLE, "day": day},
        ).scalar()
    if served is None:
        return 0
    users = reading.read_users(engine, day)
    posts = reading.read_posts(engine, day)
    history = reading.read_history(
        engine,
        as_of,
        users,
        _post_ids(posts, reading.read_posts(engine, as_of)),
        first_cutoff=day,
        first_day=day - timedelta(days=HISTORY_DAYS),
    )
    question = evaluating.next_day(build(day, users, posts, history), number(as_of))
    shown = read_sql(
        engine, "feed_recommendation/published_lists.sql", published=day, known_by=as_of
    )
    by_arm = _shown_to(question, shown)
    for arm, (asked, found) in by_arm.items():
        version = next((each for each in served.split(", ") if f".{arm}-" in each), served)
        measured = evaluating.summary(asked, {arm: found}).assign(model_version=version)
        with engine.begin() as connection:
            champion.record_evaluation(connection, JOB, day, "matured", measured)
    return sum(len(found) for _, found in by_arm.values())


def visualize(engine: Engine, as_of: date, out: Path) -> list[Path]:
    """Redraw the pictures of the versions live on ``as_of`` into ``out``; return the files.

    Raises:
        NoLiveVersion: if no version was live on that day.
    """
    drawn: list[Path] = []
    for arm in training.ARMS:
        with engine.connect() as connection:
            live = champion.live_version(connection, f"{JOB}.{arm}", as_of)
            if live is None:
                raise champion.NoLiveVersion(
                    f"{JOB}.{arm} {as_of}: no version was live; "
                    f"python -m jobs versions {JOB}.{arm} lists them"
                )
            cutoff = champion.described(connection, live)["gate_cutoff"]
        fitted = kept.load(engine, live)
        day = read_days(engine, cutoff + timedelta(days=1))[-1]
        question = evaluating.next_day(day, number(cutoff) + 1)
        vectors = fitted.encoder.embed(day.texts)
        ranked = evaluating.ask(question, fitted, vectors, [MODEL, *ORDERS])
        drawn += pictures.draw(
            out / arm, live, fitted, evaluating.summary(question, ranked), vectors, day.context
        )
    return drawn


def _train(
    engine: Engine,
    as_of: date,
    arm: str,
    ground: Sequence[Day],
    shared: collaborative.Collaborative,
) -> tuple[str, dict[str, NDArray[np.int32]]]:
    """Fit an arm's model for ``as_of``, log and register it with every source beside it.

    Returns:
        The version, and what it and the sources would have shown on the gate's day, by order.
    """
    job = f"{JOB}.{arm}"
    *days, gate_day = ground
    learning = [learners(day) for day in days]
    with engine.connect() as connection:
        version = champion.next_version(connection, job, as_of)
    with (
        champion.training_run(version, job, as_of) as run_id,
        tempfile.TemporaryDirectory() as temporary,
    ):
        encoder = training.fit_encoder(arm, learning[0])
        folder = Path(temporary) / MODEL
        model.save(training.fit(arm, encoder, shared, learning, gate_day.cutoff), folder)
        fitted = model.load(folder)  # what is tested is what serves
        vectors = fitted.encoder.embed(gate_day.texts)
        question = evaluating.next_day(gate_day, number(as_of))
        held_out = evaluating.last_like(gate_day, _held_out(gate_day.users))
        orders = [MODEL, *ORDERS]
        shown = evaluating.ask(question, fitted, vectors, orders)
        measured = evaluating.summary(question, shown)
        if len(held_out.day.users):
            last = evaluating.ask(held_out, fitted, vectors, orders)
            measured = pd.concat([measured, evaluating.summary(held_out, last, "last_like_")])
        names = {
            order: version if order == MODEL else champion.baseline_version(version, order)
            for order in orders
        }
        measured = measured.assign(model_version=measured["name"].map(names))
        drawn = Path(temporary) / "pictures"
        pictures.draw(drawn, version, fitted, measured, vectors, gate_day.context)
        window = {
            "train_from": days[0].cutoff - timedelta(days=HISTORY_DAYS),
            "train_to": gate_day.cutoff,
            "gate_cutoff": gate_day.cutoff,
        }
        counts = {
            "users": len(gate_day.users),
            "posts": len(gate_day.texts),
            "gate": len(question.day.users),
            "held_out": len(held_out.day.users),
        }
        params = {**training.PARAMS, "unviewed_weight": training.UNVIEWED_WEIGHT}
        champion.log(
            run_id,
            {
                **params,
                **window,
                **{f"rows_{name}": count for name, count in counts.items()},
                "as_of": as_of,
                "arm": arm,
                "label_days": ", ".join(str(day.cutoff) for day in days),
                "features": ", ".join(fitted.ranker.feature_names_),
            },
            measured,
            drawn,
        )
        folders: dict[Path, Version] = {}
        for order, name in names.items():
            place = Path(temporary) / order
            if order != MODEL:
                place.mkdir()
                described = {"model_version": version, "order": order}
                (place / "order.json").write_text(json.dumps(described))
            figures = measured[measured["model_version"] == name]
            folders[place] = Version(
                model_version=name,
                job=job,
                as_of=as_of,
                kind="model" if order == MODEL else "baseline",
                name="catboost" if order == MODEL else order,
                rows=counts,
                params=params if order == MODEL else {},
                metrics=dict(figures[["metric", "value"]].to_numpy()),
                **window,
            )
        champion.register(engine, run_id, folders)
    named = measured.assign(name=measured["name"].replace(MODEL, arm))
    with engine.begin() as connection:
        champion.record_evaluation(connection, job, as_of, "gate", named)
    return version, shown


def _decide(
    engine: Engine,
    as_of: date,
    arm: str,
    trained: str,
    question: Question,
    shown: Mapping[str, NDArray[np.int32]],
    retrained: bool,
) -> str:
    """Put the day's version before its arm's gate; return the version that serves."""
    job = f"{JOB}.{arm}"
    with engine.connect() as connection:
        beside = champion.baselines_beside(connection, trained)
        live = champion.live_version(connection, job, as_of)
    if not shown:
        fitted = kept.load(engine, trained)
        vectors = fitted.encoder.embed(question.day.texts)
        shown = evaluating.ask(question, fitted, vectors, [MODEL, *beside.values()])
    lists_of = {trained: shown[MODEL], **{each: shown[name] for each, name in beside.items()}}
    if live and live not in lists_of:
        serving = kept.load(engine, live)
        vectors = serving.encoder.embed(question.day.texts)
        lists_of[live] = evaluating.ask(question, serving, vectors, [serving.order])[serving.order]
    scores = question.day.users[["user_id"]].reset_index(drop=True)
    scores = scores.assign(
        **{each: evaluating.figures(question, found)[PRIMARY] for each, found in lists_of.items()}
    )
    # No list may be worse than the best single source's.
    best = min(beside, key=lambda each: (-scores[each].mean(), each))
    rule = replace(gate(arm), floor=beside[best])
    actor = f"airflow {airflow_run_id()}" if airflow_run_id() else f"run of {as_of}"
    decision = champion.decide(engine, rule, as_of, scores, trained, actor, retrained)
    champion.sync_alias(engine, job)
    return decision.version


def read_days(engine: Engine, as_of: date) -> list[Day]:
    """Return the label days and, last, the gate's day, each as it was known then.

    Raises:
        NothingToLearnFrom: if there are no users or posts on one of them.
    """
    gate_day = as_of - timedelta(days=1)
    cutoffs = [*training.label_days(gate_day), gate_day]
    users = {cutoff: reading.read_users(engine, cutoff) for cutoff in cutoffs}
    posts = {cutoff: reading.read_posts(engine, cutoff) for cutoff in cutoffs}
    for cutoff in cutoffs:
        _require_rows(users[cutoff], posts[cutoff], cutoff)
    everyone = pd.concat(list(users.values())).drop_duplicates("user_id").sort_values("user_id")
    history = reading.read_history(
        engine,
        as_of,
        everyone,
        _post_ids(*posts.values(), reading.read_posts(engine, as_of)),
        first_cutoff=cutoffs[0],
        first_day=cutoffs[0] - timedelta(days=HISTORY_DAYS),
    )
    return [build(cutoff, users[cutoff], posts[cutoff], history) for cutoff in cutoffs]


def _held_out(users: pd.DataFrame) -> NDArray[np.bool_]:
    return split.bucket(HELD_OUT_SALT, users["user_id"].to_numpy()) < HELD_OUT


def learners(day: Day) -> Day:
    """Return the day with the users that fits may learn from."""
    return day.of(np.flatnonzero(~_held_out(day.users)))


def _require_rows(users: pd.DataFrame, posts: pd.DataFrame, as_of: date) -> None:
    for table, frame in (("user_data", users), ("post_text_df", posts)):
        if frame.empty:
            raise training.NothingToLearnFrom(
                f"{JOB} {as_of}: raw.{table} has no row known then; history must begin days "
                "before it: python -m jobs extract --from ... --to ..."
            )


def _post_ids(*posts: pd.DataFrame) -> NDArray[np.int64]:
    return np.unique(np.concatenate([each["post_id"].to_numpy(np.int64) for each in posts]))


def _as_rows(
    found: Context,
    ranked: model.Lists,
    users: pd.DataFrame,
    arms: NDArray[Any],
    first_hour: int,
    version: str,
) -> pa.Table:
    """Return lists as rows of the staging table."""
    there = ranked.post >= 0
    offsets = pa.array(np.concatenate([[0], np.cumsum(there.sum(axis=1))]), pa.int32())

    def arrays(values: NDArray[Any]) -> pa.ListArray:
        return pa.ListArray.from_arrays(offsets, pa.array(values[there]))

    return pa.table(
        [
            pa.array(users["user_id"].to_numpy(np.int64)),
            pa.array(np.full(len(users), first_hour, np.int16)),
            pa.array(arms.astype(str)),
            pa.array([version] * len(users)),
            arrays(found.post_ids[np.maximum(ranked.post, 0)]),
            arrays(ranked.score),
            arrays(ranked.source),
        ],
        schema=STAGED,
    )


def _popular(found: Context) -> dict[str, dict[str, list[float]]]:
    """Return, by segment, the most liked posts of the last 7 days; '' is everyone."""
    everyone = found.orders()["popular_7d"][: lists.DEPTH]
    likes = {"": (everyone, found.counts["likes_7d"], 4)}
    orders = found.segment_orders(lists.DEPTH)
    for place, segment in enumerate(found.segments):
        order = orders[place][orders[place] >= 0]
        likes[segment] = (order, found.segment_likes[place], 6)
    return {
        segment: {
            "post_ids": found.post_ids[order].tolist(),
            "scores": counts[order].tolist(),
            "sources": [code] * len(order),
        }
        for segment, (order, counts, code) in likes.items()
    }


def _shown_to(
    question: Question, shown: pd.DataFrame
) -> dict[str, tuple[Question, NDArray[np.int32]]]:
    """Return, by arm, the question to its users and the lists they had at their hour."""
    ids = question.day.users["user_id"].to_numpy()
    part = pd.DataFrame({"user_id": ids, "hour": question.hours, "place": np.arange(len(ids))})
    merged = part.merge(shown, on="user_id")
    merged = merged[merged["day_part"] <= merged["hour"]].sort_values(["place", "day_part"])
    merged = merged.drop_duplicates("place", keep="last")
    found: dict[str, tuple[Question, NDArray[np.int32]]] = {}
    for arm, rows in merged.groupby("arm"):
        who = rows["place"].to_numpy()
        listed = np.full((len(who), 10), -1, np.int32)
        for row, posts in enumerate(rows["post_ids"]):
            place, there = model.places(question.day.context.post_ids, np.asarray(posts, np.int64))
            listed[row, : len(place)] = np.where(there, place, -1)
        asked_of = np.isin(question.user, who)
        asked = Question(
            question.day.of(who),
            np.searchsorted(who, question.user[asked_of]),
            question.post[asked_of],
            question.hours[who],
        )
        found[str(arm)] = (asked, listed)
    return found


def _prepared(as_of: date) -> str:
    return f"{JOB}_{as_of:%Y%m%d}_prepared"


def _part(shard: int, shards: int) -> str:
    return f"{shard}of{shards}"
