"""CatBoost on text vectors, what a post looks like, and its picture; by binomial likelihood."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from catboost import CatBoost, Pool
from numpy.typing import NDArray

from jobs.post_conversion import rates
from jobs.post_conversion.regression import dense
from jobs.post_conversion.rows import Rows, numbers

SETTINGS = {
    "loss_function": "CrossEntropy",
    "depth": 4,
    "learning_rate": 0.05,
    "l2_leaf_reg": 10,
    "iterations": 500,
    "early_stopping_rounds": 40,
    "random_seed": 7,
    "allow_const_label": True,  # an action that nobody took in the earlier posts
    "thread_count": 2,
    "verbose": False,
    "allow_writing_files": False,
}

Matrix = NDArray[np.float32]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Boosting:
    """One model for each action.

    Attributes:
        source: name of the text encoder whose vectors are read.
        trees: a model for each action.
        with_pictures: whether the picture is read.
    """

    source: str
    trees: tuple[CatBoost, ...]
    with_pictures: bool

    def log_odds(self, rows: Rows) -> Numbers:
        """Return posts x actions."""
        pool = Pool(table(rows, self.source, self.with_pictures))
        return np.column_stack(
            [one.predict(pool, prediction_type="RawFormulaVal") for one in self.trees]
        )

    def contributions(self, rows: Rows, place: int) -> Numbers:
        """Return SHAP values of one action: posts x (columns, then the base); sums are log-odds."""
        pool = Pool(table(rows, self.source, self.with_pictures))
        found = self.trees[place].get_feature_importance(pool, type="ShapValues")
        return np.asarray(found, float)

    def names(self, rows: Rows) -> list[str]:
        """Return what the columns are called; those of a vector by what it is of."""
        read = table(rows.where(np.arange(0)), self.source, self.with_pictures).shape[1]
        told = ["text"] * rows.vectors[self.source].shape[1] + numbers(rows.actions)
        return told + ["picture"] * (read - len(told))


def fit(
    learned: Rows, chosen_by: Rows, source: str, strengths: Numbers, with_pictures: bool
) -> Boosting:
    """Return the models; each has as many trees as foretell ``chosen_by`` best."""
    read, later = (table(each, source, with_pictures) for each in (learned, chosen_by))
    trees = []
    for place, known in enumerate(strengths):
        pools = [
            Pool(
                columns,
                each.counts()[:, place] / np.maximum(each.views, 1),
                weight=rates.worth(each.views, known),
            )
            for columns, each in ((read, learned), (later, chosen_by))
        ]
        # A rare action is hundreds of small steps away from even odds, where trees begin else.
        start = {"boost_from_average": bool(learned.counts()[:, place].any())}
        trees.append(CatBoost({**SETTINGS, **start}).fit(pools[0], eval_set=pools[1]))
    return Boosting(source, tuple(trees), with_pictures)


def table(rows: Rows, source: str, with_pictures: bool) -> Matrix:
    """Return the columns: the text's vector, numbers, and the picture's."""
    read = np.hstack([rows.vectors[source], dense(rows, with_pictures)])
    return np.ascontiguousarray(read, np.float32)


def save(model: Boosting, folder: Path) -> None:
    """Write the trees into ``folder`` as .cbm files."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, one in enumerate(model.trees):
        one.save_model(folder / f"{place}.cbm")


def load(folder: Path, source: str, with_pictures: bool) -> Boosting:
    """Return what `save` wrote."""
    files = sorted(folder.glob("*.cbm"), key=lambda path: int(path.stem))
    return Boosting(source, tuple(CatBoost().load_model(path) for path in files), with_pictures)
