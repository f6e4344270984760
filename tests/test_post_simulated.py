"""The simulation's own posts and pictures: what their files plant is found in likes alone."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from jobs.feed_recommendation import tfidf
from jobs.post_conversion import (
    decoding,
    experiments,
    hybrid,
    image_encoders,
    picture_axes,
    rows,
    slices,
    training,
)
from jobs.simulate.clock import day_date, day_number
from jobs.simulate.social import images, texts, truth
from jobs.simulate.social.plan import plan
from jobs.simulate.social.words import TOPICS
from jobs.simulate.social.world import FIRST_POST_ID

START, DAYS, USERS, SIDE = date(2026, 1, 1), 120, 14_000, 96
AS_OF = START + timedelta(days=DAYS)
MEAN_VIEWS = 350


@pytest.fixture(scope="module")
def world():
    return plan(11, USERS, START, DAYS + 1)


@pytest.fixture(scope="module")
def found(world):
    """Return rows of posts.sql of the posts published since START, counts drawn from the truth."""
    random = np.random.default_rng(2)
    published = world.published
    post = np.flatnonzero(
        (published >= day_number(START) * 86_400_000_000)
        & (published < day_number(AS_OF) * 86_400_000_000)
    )
    day = published[post] // 86_400_000_000
    told = {
        "post_id": FIRST_POST_ID + post,
        "published_at": pd.to_datetime(published[post], unit="us", utc=True),
        "published_day": [day_date(int(each)) for each in day],
        "text": [texts.text(world, int(each), int(on)) for each, on in zip(post, day, strict=True)],
        "topic": np.array(list(TOPICS))[world.topic[post]],
        "uri": [images.uri(world, int(each)) if world.picture[each] else None for each in post],
        "mature": True,
        "views": random.poisson(MEAN_VIEWS * random.lognormal(-0.2, 0.6, len(post))),
    }
    frame = pd.DataFrame(told)
    for action, column in rows.ACTIONS.items():
        rate = np.zeros(len(frame))
        for each in np.unique(day):
            of_day = day == each
            ids = frame.loc[of_day, "post_id"].to_numpy()
            rate[of_day] = truth.rates(world, day_date(int(each) + 1), ids)[action]
        frame[column] = frame[f"{column}_all"] = frame[f"{column}_on_time"] = random.binomial(
            frame["views"], rate
        )
    frame["views_on_time"] = frame["views_all"] = frame["views"]
    return frame


@pytest.fixture(scope="module")
def vectors(world, found, tmp_path_factory):
    """Return what the encoder makes of the files, drawn and decoded as in a night."""
    folder = tmp_path_factory.mktemp("pictures")
    with_pictures = found[found["uri"].notna()]
    images.write(world, (with_pictures["post_id"] - FIRST_POST_ID).tolist(), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTSHIFT_IMAGE_WEIGHTS", "random")
        patch.setenv("NIGHTSHIFT_IMAGE_SIDE", str(SIDE))
        encoder = image_encoders.configured()
    pictures = [
        decoding.resized(decoding.opened(uri, [folder], SIDE), SIDE) for uri in with_pictures["uri"]
    ]
    made = encoder.embed(np.stack(pictures))
    return with_pictures[["post_id", "uri"]].assign(vector=list(made))


def test_pictures_gain_likes_and_no_other_action(found, vectors, monkeypatch):
    """The table's interval of the gain excludes zero for likes, and for shares it does not."""
    monkeypatch.setattr(hybrid, "EPOCHS", 1)
    learned, asked = slices.learning_posts(found, AS_OF), slices.gate_posts(found, AS_OF)
    axes = picture_axes.fit(
        np.stack(vectors[vectors["post_id"].isin(learned["post_id"])]["vector"].tolist())
    )
    drawn = vectors.assign(vector=list(axes.reduced(np.stack(vectors["vector"].tolist()))))
    own = tfidf.fit(learned["text"].tolist())
    actions = tuple(rows.ACTIONS)
    read = [
        rows.build(part, actions, {"svd": own.embed(part["text"].tolist())}, drawn, found)
        for part in (learned, asked)
    ]

    trained = training.fit_all(read[0])
    table = experiments.table(
        trained, {action: trained.best(action) for action in actions}, read[1]
    )

    likes, shares = (
        table[(table["action"] == action) & table["with_pictures"]].set_index(["model", "text"])
        for action in ("like", "share")
    )
    for one in (("ridge", "tfidf"), ("ridge", "svd"), ("forest", "tfidf"), ("catboost", "svd")):
        assert likes.loc[one, "picture_gain_low"] > 0, one
        assert shares.loc[one, "picture_gain_low"] <= 0, one
    assert trained.best("like").with_pictures
