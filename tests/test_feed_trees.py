"""The ranker's trees asked table by table say what CatBoost says of the whole rows."""

import numpy as np
import pytest
from catboost import CatBoostClassifier

from jobs.feed_recommendation import trees

USERS, POSTS, COLUMNS, TOPICS = 40, 300, 60, 5
# Columns of each table, in an order that no table has to itself.
TABLES = {
    "user": np.array([0, 7]),
    "post": np.array([1, 8, 2]),
    "pair": np.array([3, 9]),
    "user_moment": np.array([4, 6]),
    "topic_moment": np.array([5]),
}


@pytest.fixture(scope="module")
def tables() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    made = {
        "user": random.normal(size=(USERS, 2)),
        "post": random.normal(size=(POSTS, 3)),
        "pair": random.normal(size=(2, USERS, COLUMNS)),
        "user_moment": random.normal(size=(USERS, 2)),
        "topic_moment": random.normal(size=(24, TOPICS, 1)),
        "candidates": random.integers(0, POSTS, (USERS, COLUMNS)),
        "topic": random.integers(0, TOPICS, POSTS),
        "hour": random.integers(0, 24, USERS),
    }
    made["user"][random.random((USERS, 2)) < 0.2] = np.nan
    return {name: each.astype("f4" if each.dtype == float else "i4") for name, each in made.items()}


def whole_rows(tables: dict[str, np.ndarray]) -> np.ndarray:
    """Return users times columns by features."""
    post = tables["candidates"].ravel()
    user = np.repeat(np.arange(USERS), COLUMNS)
    parts = {
        "user": tables["user"][user],
        "post": tables["post"][post],
        "pair": tables["pair"].reshape(2, -1).T,
        "user_moment": tables["user_moment"][user],
        "topic_moment": tables["topic_moment"][tables["hour"][user], tables["topic"][post]],
    }
    out = np.full((len(user), 10), np.inf, np.float32)
    for name, places in TABLES.items():
        out[:, places] = parts[name]
    return out


def fitted(rows: np.ndarray, **changed: object) -> CatBoostClassifier:
    """Return a ranker of labels that every feature has a part in."""
    random = np.random.default_rng(4)
    label = np.nan_to_num(rows).sum(axis=1) + random.normal(size=len(rows)) > 0
    params = {"iterations": 60, "depth": 5, "thread_count": 2, "random_seed": 1}
    ranker = CatBoostClassifier(
        **(params | changed), verbose=False, allow_writing_files=False, boost_from_average=True
    )
    return ranker.fit(rows, label)


def asked(ranker: CatBoostClassifier, tables: dict[str, np.ndarray]) -> np.ndarray:
    found = trees.of(ranker, TABLES)
    post = tables["candidates"]
    topics = trees.answers(found, "topic_moment", tables["topic_moment"].reshape(-1, 1))
    return trees.chances(
        found,
        trees.of_candidates(
            found,
            post,
            trees.answers(found, "user", tables["user"]),
            trees.answers(found, "post", tables["post"]),
            tables["pair"],
        ),
        trees.answers(found, "user_moment", tables["user_moment"]),
        post,
        tables["topic"],
        topics.reshape(24, TOPICS, -1),
        tables["hour"].astype(np.int64),
    )


@pytest.mark.parametrize("depth", [1, 5, 8])
def test_every_chance_is_catboosts_own(tables, depth):
    rows = whole_rows(tables)
    ranker = fitted(rows, depth=depth)
    assert (ranker.get_feature_importance() > 0).sum() == 10  # each table is asked

    found = asked(ranker, tables).ravel()

    assert (found == ranker.predict_proba(rows)[:, 1].astype("f4")).all()
    assert found.std() > 0.05


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"depth": 9}, "depth 8 at most, not 9"),
        ({"nan_mode": "Max"}, "is the smallest"),
        ({"grow_policy": "Lossguide"}, "oblivious trees over numbers"),
    ],
)
def test_a_ranker_of_another_kind_is_refused(tables, changed, message):
    with pytest.raises(ValueError, match=message):
        trees.of(fitted(whole_rows(tables), iterations=3, **changed), TABLES)


def test_a_ranker_with_categories_is_refused():
    random = np.random.default_rng(5)
    rows = [[str(value), float(value)] for value in random.integers(0, 4, 400)]
    ranker = CatBoostClassifier(iterations=3, verbose=False, allow_writing_files=False)
    ranker.fit(rows, random.integers(0, 2, 400), cat_features=[0])

    with pytest.raises(ValueError, match="over numbers"):
        trees.of(ranker, {"user": np.array([0, 1])})
