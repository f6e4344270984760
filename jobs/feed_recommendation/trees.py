"""The ranker's trees, asked about each post once, each user once, and then about the two together.

CatBoost's trees ask one question a level, whatever was answered above, so a leaf is a number with
one bit for each answer. Answers about a post hold for every user and every part of the day, answers
about a user for all the posts; what is left to ask of a candidate is a fraction, and most trees do
not ask about the moment, so their leaves are added up once for the whole day. What comes out is
what CatBoost says itself (tests/test_feed_trees.py), to the last digit of a float32.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

if TYPE_CHECKING:
    from catboost import CatBoostClassifier

Matrix = NDArray[np.float32]
Answers = NDArray[np.uint8]
MAX_DEPTH = 8  # answers of one tree are a byte
MOMENT = ("user_moment", "topic_moment")  # the tables that change in the course of a day


@dataclass(frozen=True)
class Questions:
    """What is asked of the rows of one table: whether a column's value is above a border.

    Attributes:
        column: of the table.
        border: a value that lacks is not above it.
        tree: that asks.
        bit: of the leaf's number that a yes sets.
    """

    column: NDArray[np.int32]
    border: Matrix
    tree: NDArray[np.int32]
    bit: NDArray[np.uint8]


@dataclass(frozen=True)
class Trees:
    """A ranker, its questions by the table that they are asked of.

    Attributes:
        questions: by the name of the table.
        moving: how many trees, the first ones, ask about the moment.
        leaves: trees by leaves.
        scale, bias: of the sum of leaves, whose sigmoid is the chance.
    """

    questions: dict[str, Questions]
    moving: int
    leaves: NDArray[np.float64]
    scale: float
    bias: float


class Asked(NamedTuple):
    """What is known of candidates before the moment is.

    Attributes:
        answers: users by moving trees by columns.
        still: users by columns, the sum of the other trees' leaves.
    """

    answers: Answers
    still: NDArray[np.float64]


def of(ranker: "CatBoostClassifier", tables: dict[str, NDArray[np.int64]]) -> Trees:
    """Return the trees of a fitted ranker.

    Args:
        ranker: of numbers only, with oblivious trees (CatBoost's default).
        tables: by name, where the columns of each table stand among the ranker's features.

    Raises:
        ValueError: if it has trees or features of another kind.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ranker.json"
        ranker.save_model(str(file), format="json")
        described = json.loads(file.read_text())
    numbers = described["features_info"].get("float_features", [])
    if "oblivious_trees" not in described or set(described["features_info"]) != {"float_features"}:
        raise ValueError("expected a ranker of oblivious trees over numbers")
    if any(number["nan_value_treatment"] == "AsTrue" for number in numbers):
        raise ValueError("expected a ranker to which a value that lacks is the smallest")
    feature = {number["feature_index"]: number["flat_feature_index"] for number in numbers}
    place = {
        int(at): (name, column) for name, ats in tables.items() for column, at in enumerate(ats)
    }
    found: dict[str, list[tuple[int, float, int, int]]] = {name: [] for name in tables}
    trees = [
        (
            tree["leaf_values"],
            [
                (*place[feature[split["float_feature_index"]]], split["border"])
                for split in tree["splits"] or ()
            ],
        )
        for tree in described["oblivious_trees"]
    ]
    moves = [any(name in MOMENT for name, _, _ in splits) for _, splits in trees]
    trees = [trees[at] for at in np.argsort(np.logical_not(moves), kind="stable")]
    depth = max((len(splits) for _, splits in trees), default=0)
    if depth > MAX_DEPTH:
        raise ValueError(f"expected trees of depth {MAX_DEPTH} at most, not {depth}")
    leaves = np.zeros((len(trees), 2**depth))
    for at, (values, splits) in enumerate(trees):
        leaves[at, : len(values)] = values
        for level, (name, column, border) in enumerate(splits):
            found[name].append((column, border, at, 1 << level))
    scale, bias = described["scale_and_bias"]
    return Trees(
        {name: _questions(each) for name, each in found.items()},
        sum(moves),
        leaves,
        scale,
        float(bias[0]),
    )


def answers(trees: Trees, name: str, table: Matrix) -> Answers:
    """Return rows by trees: what the questions to one table set, by row of the table."""
    asked = trees.questions[name]
    return np.asarray(
        _answers(table, asked.column, asked.border, asked.tree, asked.bit, len(trees.leaves))
    )


def of_candidates(
    trees: Trees,
    post: NDArray[np.int32],
    of_users: Answers,
    of_posts: Answers,
    pairs: Matrix,
) -> Asked:
    """Return all that the trees say but for what they ask about the moment.

    Args:
        trees: the ranker.
        post: users by columns, places of posts; -1 where there is none, whose answers mean nothing.
        of_users: what `answers` returned for them.
        of_posts: the same for all posts.
        pairs: features by users by columns, the table 'pair'.
    """
    asked = trees.questions["pair"]
    return Asked(
        *_of_candidates(
            post,
            of_users,
            of_posts,
            pairs,
            asked.column,
            asked.border,
            asked.tree,
            asked.bit,
            trees.leaves,
            trees.moving,
        )
    )


def chances(
    trees: Trees,
    of_candidates: Asked,
    of_users: Answers,
    post: NDArray[np.int32],
    topic: NDArray[np.int32],
    of_topics: Answers,
    hour: NDArray[np.int64],
) -> Matrix:
    """Return the chance of a like, users by columns; of no candidate, any number.

    Args:
        trees: the ranker.
        of_candidates: what the function of that name returned.
        of_users: answers about each user's moment.
        post: users by columns, places of posts; -1 where there is none.
        topic: of each post.
        of_topics: answers about each topic's moment, hours by topics by trees.
        hour: each user's.
    """
    return np.asarray(
        _chances(
            *of_candidates,
            of_users,
            post,
            topic,
            np.ascontiguousarray(of_topics.transpose(0, 2, 1)),
            hour,
            trees.leaves,
            trees.scale,
            trees.bias,
        )
    )


def _questions(asked: list[tuple[int, float, int, int]]) -> Questions:
    column, border, tree, bit = zip(*asked, strict=True) if asked else ((), (), (), ())
    return Questions(
        np.array(column, np.int32),
        np.array(border, np.float32),
        np.array(tree, np.int32),
        np.array(bit, np.uint8),
    )


@njit(cache=True)
def _answers(table: Any, column: Any, border: Any, tree: Any, bit: Any, trees: int) -> Any:
    out = np.zeros((len(table), trees), np.uint8)
    for row in range(len(table)):
        for asked in range(len(column)):
            if table[row, column[asked]] > border[asked]:
                out[row, tree[asked]] |= bit[asked]
    return out


@njit(cache=True, parallel=True)
def _of_candidates(
    post: Any,
    of_users: Any,
    of_posts: Any,
    pairs: Any,
    column: Any,
    border: Any,
    tree: Any,
    bit: Any,
    leaves: Any,
    moving: int,
) -> Any:
    users, columns = post.shape
    trees = of_users.shape[1]
    out = np.empty((users, moving, columns), np.uint8)
    still = np.zeros((users, columns))
    for user in prange(users):
        ours = np.empty((trees, columns), np.uint8)
        for candidate in range(columns):
            theirs = of_posts[max(post[user, candidate], 0)]
            for at in range(trees):
                ours[at, candidate] = theirs[at] | of_users[user, at]
        for asked in range(len(column)):
            row, values = ours[tree[asked]], pairs[column[asked], user]
            above, yes = border[asked], bit[asked]
            for candidate in range(columns):
                # As bytes, so that the compiler takes many at once.
                row[candidate] = row[candidate] | np.uint8(yes if values[candidate] > above else 0)
        out[user] = ours[:moving]
        for at in range(moving, trees):
            leaf, row = leaves[at], ours[at]
            for candidate in range(columns):
                still[user, candidate] += leaf[row[candidate]]
    return out, still


@njit(cache=True, parallel=True)
def _chances(
    of_candidates: Any,
    still: Any,
    of_users: Any,
    post: Any,
    topic: Any,
    of_topics: Any,
    hour: Any,
    leaves: Any,
    scale: float,
    bias: float,
) -> Any:
    users, trees, columns = of_candidates.shape
    asks_topic = np.zeros(trees, np.bool_)
    for at in range(trees):
        asks_topic[at] = of_topics[:, at].max() > 0
    out = np.empty((users, columns), np.float32)
    for user in prange(users):
        total = still[user].copy()
        about = np.empty(columns, np.int32)
        for candidate in range(columns):
            about[candidate] = topic[max(post[user, candidate], 0)]
        for at in range(trees):
            ours, leaf, mine = of_candidates[user, at], leaves[at], of_users[user, at]
            if asks_topic[at]:
                topics = of_topics[hour[user], at]
                for candidate in range(columns):
                    number = ours[candidate] | mine | topics[about[candidate]]
                    total[candidate] += leaf[number]
            else:
                for candidate in range(columns):
                    total[candidate] += leaf[ours[candidate] | mine]
        for candidate in range(columns):
            out[user, candidate] = 1 / (1 + np.exp(-(scale * total[candidate] + bias)))
    return out
