"""The feed: read, train both arms, gate each, list posts for everybody and every hour, publish."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine, text

from jobs import champion
from jobs.feed_recommendation import (
    arms,
    collaborative,
    evaluating,
    kept,
    model,
    pictures,
    reading,
    serving,
    training,
)
from jobs.feed_recommendation.day import build
from jobs.feed_recommendation.evaluating import Answer, Question
from jobs.feed_recommendation.history import number
from jobs.feed_recommendation.model import MODEL, ORDERS
from jobs.feed_recommendation.seen import Snapshot
from jobs.feed_recommendation.serving import TABLE, Versions
from jobs.feed_recommendation.training import JOB
from jobs.warehouse import only_run, read_sql


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
            serving.score(engine, as_of, versions, shard, shards)
        published = serving.publish(engine, as_of, versions, shards)
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
        BadSetting: if the pretrained encoder that is configured does not work.
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
            missing = [arm for arm in wanted if retrain or trained[arm] is None]
            training.check_settings(missing)
            ground = arms.read_days(engine, as_of)
            question = evaluating.next_day(ground[-1], number(as_of))
            fresh: dict[str, dict[str, Answer]] = {}
            if missing:
                learning = [arms.learners(day) for day in ground[:-1]]
                shared = collaborative.fit(learning[0].history.before(learning[0].cutoff))
                for arm in missing:
                    trained[arm], fresh[arm] = arms.train(
                        engine, as_of, arm, learning, ground[-1], question, shared
                    )
            for arm in wanted:
                version = trained[arm]
                assert version is not None
                named[arm] = arms.decide(
                    engine, as_of, arm, version, question, fresh.get(arm, {}), retrain
                )
        versions = {arm: named[arm] for arm in training.ARMS}
        serving.prepare(engine, as_of, versions)
    return versions


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
        arms.post_ids(posts, reading.read_posts(engine, as_of)),
        first_cutoff=day,
        since=Snapshot(None, day - timedelta(days=arms.HISTORY_DAYS)),
    )
    question = evaluating.next_day(build(day, users, posts, history), number(as_of))
    shown = read_sql(
        engine, "feed_recommendation/published_lists.sql", published=day, known_by=as_of
    )
    by_arm = _shown_to(question, shown)
    for arm, (asked, found) in by_arm.items():
        version = next((each for each in served.split(", ") if f".{arm}-" in each), served)
        measured = evaluating.summary(asked, {arm: Answer(found)}).assign(model_version=version)
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
            trained_for = champion.described(connection, live)["as_of"]
        fitted = kept.load(engine, live)
        day = arms.read_days(engine, trained_for)[-1]
        question = evaluating.next_day(day, number(trained_for))
        vectors = fitted.encoder.embed(day.texts)
        ranked = evaluating.ask(question, fitted, vectors, [MODEL, *ORDERS])
        drawn += pictures.draw(
            out / arm, live, fitted, evaluating.summary(question, ranked), vectors, day.context
        )
    return drawn


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
