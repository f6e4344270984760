"""A fitted version: for each action the candidate that serves, and what it needs to be asked."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
from numpy.typing import NDArray

from jobs import calibration as logistic_map
from jobs.calibration import Calibration
from jobs.post_conversion import boosting, rates
from jobs.post_conversion.boosting import Boosting
from jobs.post_conversion.picture_axes import Axes
from jobs.post_conversion.rows import Rows

Numbers = NDArray[np.float64]
FILE, AXES = "model.json", "picture_axes.npz"


class Candidate(NamedTuple):
    """What is compared: a model, what it reads the text by, and whether it reads pictures."""

    model: str
    text: str = "none"
    with_pictures: bool = False

    def __str__(self) -> str:
        """Return the name in words."""
        read = "" if self.text == "none" else f" on {self.text}"
        return f"{self.model}{read}{' and pictures' if self.with_pictures else ''}"


GLOBAL, TOPIC = Candidate("global_rate"), Candidate("topic_rate")
BASELINES = (GLOBAL, TOPIC)


@dataclass(frozen=True)
class GlobalRate:
    """The rate of all posts, of each action, as log-odds."""

    level: Numbers

    def log_odds(self, rows: Rows) -> Numbers:
        """Return posts x actions."""
        return np.tile(self.level, (len(rows.posts), 1))


@dataclass(frozen=True)
class TopicRate:
    """The past rate of the post's topic, drawn towards that of all posts."""

    def log_odds(self, rows: Rows) -> Numbers:
        """Return posts x actions."""
        return np.asarray(rows.layout[:, -len(rows.actions) :], float)


@dataclass(frozen=True)
class Fitted:
    """Everything that a version needs to score.

    Attributes:
        name: what serves, in words.
        actions: those that the source had.
        models: the candidates that serve.
        serves: for each action, which one does.
        maps: for each action, what calibrates it.
        strengths: for each action, how many views its prediction is worth.
        text_version: version of the feed's job whose encoder made the vectors; None: an own one.
        sentence_version: of the pretrained text encoder; None where none was read.
        picture_version: of the encoder that made the pictures' vectors; None where none was read.
        axes: what the pictures' vectors are reduced to.
    """

    name: str
    actions: tuple[str, ...]
    models: Mapping[Candidate, Any]
    serves: Mapping[str, Candidate]
    maps: Mapping[str, Calibration]
    strengths: Mapping[str, float]
    text_version: str | None = None
    sentence_version: str | None = None
    picture_version: str | None = None
    axes: Axes | None = None


def predicted(fitted: Fitted, rows: Rows) -> Numbers:
    """Return the rate of each action that is predicted: posts x actions."""
    told = {candidate: one.log_odds(rows) for candidate, one in fitted.models.items()}
    return np.column_stack(
        [
            rates.rate_of(
                logistic_map.apply(fitted.maps[action], told[fitted.serves[action]][:, place])
            )
            for place, action in enumerate(fitted.actions)
        ]
    )


def picture_added(fitted: Fitted, rows: Rows, rate: Numbers) -> Numbers:
    """Return by how much the picture raises each predicted rate; NaN where no picture is read.

    Args:
        fitted: the model.
        rows: the posts.
        rate: what `predicted` says of them.
    """
    without = predicted(fitted, rows.without_pictures())
    reads = np.array([fitted.serves[action].with_pictures for action in fitted.actions])
    return np.where(rows.has_picture[:, None] & reads, rate - without, np.nan)


def save(fitted: Fitted, folder: Path) -> None:
    """Write the model into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "name": fitted.name,
        "actions": fitted.actions,
        "candidates": list(fitted.models),
        "serves": {
            action: list(fitted.models).index(each) for action, each in fitted.serves.items()
        },
        "maps": {action: asdict(one) for action, one in fitted.maps.items()},
        "strengths": fitted.strengths,
        "text_version": fitted.text_version,
        "sentence_version": fitted.sentence_version,
        "picture_version": fitted.picture_version,
    }
    (folder / FILE).write_text(json.dumps(told, indent=1))
    if fitted.axes is not None:
        np.savez(folder / AXES, centre=fitted.axes.centre, axes=fitted.axes.axes)
    for place, one in enumerate(fitted.models.values()):
        if isinstance(one, Boosting):
            boosting.save(one, folder / str(place))
        else:
            joblib.dump(one, folder / f"{place}.joblib", compress=3)


def load(folder: Path) -> Fitted:
    """Read the model from ``folder``, whose checksum the registry keeps: its files are code too."""
    told = json.loads((folder / FILE).read_text())
    candidates = [Candidate(*each) for each in told["candidates"]]
    models = {}
    for place, candidate in enumerate(candidates):
        trees = folder / str(place)
        models[candidate] = (
            boosting.load(trees, candidate.text, candidate.with_pictures)
            if trees.is_dir()
            else joblib.load(folder / f"{place}.joblib")
        )
    axes = None
    if (folder / AXES).exists():
        with np.load(folder / AXES) as arrays:
            axes = Axes(arrays["centre"], arrays["axes"])
    return Fitted(
        name=told["name"],
        actions=tuple(told["actions"]),
        models=models,
        serves={action: candidates[place] for action, place in told["serves"].items()},
        maps={action: Calibration(**one) for action, one in told["maps"].items()},
        strengths=told["strengths"],
        text_version=told["text_version"],
        sentence_version=told["sentence_version"],
        picture_version=told["picture_version"],
        axes=axes,
    )
