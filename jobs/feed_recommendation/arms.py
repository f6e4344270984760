"""An arm's version of a day: what it learns from, its training, and its gate."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine

from jobs import champion
from jobs.champion import Gate, Version
from jobs.experiment import split
from jobs.feed_recommendation import (
    collaborative,
    evaluating,
    kept,
    model,
    periods,
    pictures,
    reading,
    training,
)
from jobs.feed_recommendation.day import Day, build
from jobs.feed_recommendation.evaluating import LIKES, PRIMARY, Answer, Question
from jobs.feed_recommendation.model import MODEL, ORDERS
from jobs.feed_recommendation.seen import Snapshot
from jobs.feed_recommendation.training import JOB
from jobs.warehouse import airflow_run_id

# A night learns from so many days; what is older says little of tomorrow's likes. (All of these are
# days of a busy feed: where a period is longer, so is all else.)
HISTORY_DAYS = 60
# Fewer users than these on the gate's rows decide nothing.
LEAST_USERS = 20
# Of users left out of every fit: their last likes test what was learned (evaluating.last_like).
HELD_OUT, HELD_OUT_SALT = 0.1, "feed-held-out"


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
        least_units=LEAST_USERS,
    )


def train(
    engine: Engine,
    as_of: date,
    arm: str,
    learning: Sequence[Day],
    gate_day: Day,
    question: Question,
    shared: collaborative.Collaborative,
) -> tuple[str, dict[str, Answer]]:
    """Fit an arm's model for ``as_of``, log and register it with every source beside it.

    Args:
        engine: the warehouse.
        as_of: the night.
        arm: control or test.
        learning: the label days, with the users to learn from.
        gate_day: the gate's day, with all users.
        question: what their likes of that day ask.
        shared: the collaborative part.

    Returns:
        The version, and what it and the sources would have shown on the gate's day, by order.
    """
    job = f"{JOB}.{arm}"
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
        apart = evaluating.last_like(gate_day, held_out(gate_day.users))
        orders = [MODEL, *ORDERS]
        shown = evaluating.ask(question, fitted, vectors, orders)
        measured = evaluating.summary(question, shown)
        if len(apart.day.users):
            last = evaluating.ask(apart, fitted, vectors, orders)
            measured = pd.concat([measured, evaluating.summary(apart, last, "last_like_")])
        names = {
            order: version if order == MODEL else champion.baseline_version(version, order)
            for order in orders
        }
        measured = measured.assign(model_version=measured["name"].map(names))
        drawn = Path(temporary) / "pictures"
        pictures.draw(drawn, version, fitted, measured, vectors, gate_day.context)
        window = {
            "train_from": learning[0].cutoff - timedelta(days=HISTORY_DAYS * learning[0].days),
            "train_to": gate_day.cutoff,
            "gate_cutoff": gate_day.cutoff,
        }
        counts = {
            "users": len(gate_day.users),
            "posts": len(gate_day.texts),
            "gate": len(question.day.users),
            "held_out": len(apart.day.users),
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
                "encoder": type(encoder).__name__,
                "label_days": ", ".join(str(day.cutoff) for day in learning),
                "period_days": gate_day.days,
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


def decide(
    engine: Engine,
    as_of: date,
    arm: str,
    trained: str,
    question: Question,
    shown: Mapping[str, Answer],
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
        beside_it = evaluating.summary(question, {"champion": lists_of[live]})
        with engine.begin() as connection:
            champion.record_evaluation(
                connection, job, as_of, "gate", beside_it.assign(model_version=live)
            )
    measured = {each: evaluating.figures(question, found) for each, found in lists_of.items()}
    scores = question.day.users[["user_id"]].reset_index(drop=True)
    scores = scores.assign(**{each: found[PRIMARY] for each, found in measured.items()})
    rule = gate(arm)
    if len(scores) >= rule.least_units:
        # No list may be worse than the best single source's.
        best = min(beside, key=lambda each: (-measured[each][LIKES].mean(), each))
        rule = replace(rule, floor=beside[best])
    actor = f"airflow {airflow_run_id()}" if airflow_run_id() else f"run of {as_of}"
    decision = champion.decide(engine, rule, as_of, scores, trained, actor, retrained)
    champion.sync_alias(engine, job)
    return decision.version


def read_days(engine: Engine, as_of: date) -> list[Day]:
    """Return the label days and, last, the gate's day, each as it was known then.

    Raises:
        NothingToLearnFrom: if there are no users or posts on one of them, or no likes.
    """
    period = periods.length(engine, as_of)
    cutoffs = periods.cutoffs(as_of, period or 1)
    users = {cutoff: reading.read_users(engine, cutoff) for cutoff in cutoffs}
    posts = {cutoff: reading.read_posts(engine, cutoff) for cutoff in cutoffs}
    for cutoff in cutoffs:
        require_rows(users[cutoff], posts[cutoff], cutoff)
    if period is None:
        raise training.NothingToLearnFrom(
            f"{JOB} {as_of}: nobody liked anything in the {periods.MOST_DAYS} days before it, by "
            "what was known then; ask for a day soon after some likes, or bring them: "
            "python -m jobs extract --from ... --to ..."
        )
    everyone = pd.concat(list(users.values())).drop_duplicates("user_id").sort_values("user_id")
    history = reading.read_history(
        engine,
        as_of,
        everyone,
        post_ids(*posts.values(), reading.read_posts(engine, as_of)),
        first_cutoff=cutoffs[0],
        since=Snapshot(None, cutoffs[0] - timedelta(days=HISTORY_DAYS * period)),
    )
    return [build(cutoff, users[cutoff], posts[cutoff], history, period) for cutoff in cutoffs]


def held_out(users: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which users no fit learns from."""
    return split.bucket(HELD_OUT_SALT, users["user_id"].to_numpy()) < HELD_OUT


def learners(day: Day) -> Day:
    """Return the day with the users that fits may learn from."""
    return day.of(np.flatnonzero(~held_out(day.users)))


def require_rows(users: pd.DataFrame, posts: pd.DataFrame, as_of: date) -> None:
    """Return if there are users and posts.

    Raises:
        NothingToLearnFrom: naming the table that has none.
    """
    for table, frame in (("user_data", users), ("post_text_df", posts)):
        if frame.empty:
            raise training.NothingToLearnFrom(
                f"{JOB} {as_of}: raw.{table} has no row known then; history must begin days "
                "before it: python -m jobs extract --from ... --to ..."
            )


def post_ids(*posts: pd.DataFrame) -> NDArray[np.int64]:
    """Return the ids in any of the frames, sorted, each once."""
    return np.unique(np.concatenate([each["post_id"].to_numpy(np.int64) for each in posts]))
