"""Fitting: every candidate on earlier posts, chosen for each action by later ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs import calibration as logistic_map
from jobs.calibration import Calibration, NothingToLearnFrom
from jobs.post_conversion import boosting, forest, hybrid, rates, regression, words
from jobs.post_conversion.model import (
    BASELINES,
    GLOBAL,
    TOPIC,
    Candidate,
    Fitted,
    GlobalRate,
    TopicRate,
)
from jobs.post_conversion.rows import Rows

LEAST_POSTS = 60
CHOSEN_SHARE = 0.25
LARGEST_SHARE = 0.05

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Trained:
    """What a training made.

    Attributes:
        models: every candidate.
        maps: what calibrates each candidate, by candidate and action.
        selection: action, candidate, held_log_loss (a view, of the posts it was chosen by),
            held_posts.
        strengths: by action, how many views a prediction of the chosen one is worth.
        actions: those that the source has.
    """

    models: Mapping[Candidate, Any]
    maps: Mapping[tuple[Candidate, str], Calibration]
    selection: pd.DataFrame
    strengths: Mapping[str, float]
    actions: tuple[str, ...]

    def best(self, action: str) -> Candidate:
        """Return the candidate with the least loss; ties by name."""
        rows = self.selection[self.selection["action"] == action]
        rows = rows.assign(name=rows["candidate"].map(str))
        found: Candidate = rows.sort_values(["held_log_loss", "name"])["candidate"].iloc[0]
        return found

    def serving(self, chosen: Mapping[str, Candidate]) -> Fitted:
        """Return the model that serves one candidate for each action."""
        wanted = set(chosen.values())
        words = "; ".join(f"{action}: {each}" for action, each in chosen.items())
        return Fitted(
            name=str(next(iter(wanted))) if len(wanted) == 1 else words,
            actions=self.actions,
            models={each: one for each, one in self.models.items() if each in wanted},
            serves=chosen,
            maps={action: self.maps[each, action] for action, each in chosen.items()},
            strengths=self.strengths,
        )


def split(rows: Rows) -> tuple[Rows, Rows]:
    """Return the earlier posts to learn from, and the later ones to choose by.

    Raises:
        NothingToLearnFrom: if there are too few posts that anybody viewed.
    """
    seen = np.flatnonzero(rows.views > 0)
    if len(seen) < LEAST_POSTS:
        raise NothingToLearnFrom(
            f"{len(seen)} viewed posts have windows that are over, at least {LEAST_POSTS} are "
            "needed; are the days of the feed loaded?"
        )
    published = rows.posts["published_at"].to_numpy()[seen]
    ordered = seen[np.lexsort([rows.posts["post_id"].to_numpy()[seen], published])]
    cut = len(ordered) - int(len(ordered) * CHOSEN_SHARE)
    return rows.where(np.sort(ordered[:cut])), rows.where(np.sort(ordered[cut:]))


def fit_all(rows: Rows) -> Trained:
    """Return every candidate, fitted on earlier posts and judged by later ones.

    Raises:
        NothingToLearnFrom: if there are too few posts, or none of them was ever acted on.
    """
    learned, chosen_by = split(rows)
    counts, views = learned.counts(), learned.views
    if not counts.sum():
        raise NothingToLearnFrom(
            f"none of the {int(views.sum())} views of {len(views)} posts ended in an action"
        )
    level = np.clip(counts.sum(axis=0) / views.sum(), rates.LEAST, rates.MOST)
    models: dict[Candidate, Any] = {
        GLOBAL: GlobalRate(np.log(level) - np.log1p(-level)),
        TOPIC: TopicRate(),
    }
    topics = rates.rate_of(models[TOPIC].log_odds(learned))
    known = np.array(
        [
            rates.strength(counts[:, place], views, topics[:, place])
            for place in range(len(rows.actions))
        ]
    )
    text = words.fit(learned.texts)
    # Without a picture anywhere there is nothing to compare.
    for with_pictures in (False, True) if learned.has_picture.any() else (False,):
        for plain in (True, False):
            models[Candidate("linear" if plain else "ridge", "tfidf", with_pictures)] = (
                regression.fit(learned, chosen_by, text, "tfidf", known, with_pictures, plain)
            )
        models[Candidate("forest", "tfidf", with_pictures)] = forest.fit(
            learned, text, known, with_pictures
        )
        for source in rows.vectors:
            models[Candidate("ridge", source, with_pictures)] = regression.fit(
                learned, chosen_by, None, source, known, with_pictures
            )
            models[Candidate("catboost", source, with_pictures)] = boosting.fit(
                learned, chosen_by, source, known, with_pictures
            )
            models[Candidate("hybrid", source, with_pictures)] = hybrid.fit(
                learned, chosen_by, source, known, with_pictures
            )
    return _judged(models, chosen_by)


def _judged(models: Mapping[Candidate, Any], chosen_by: Rows) -> Trained:
    """Return the candidates with what calibrates them and what they lose on later posts."""
    counts, views = chosen_by.counts(), chosen_by.views
    maps, losses, told = {}, [], {}
    for candidate, one in models.items():
        log_odds = one.log_odds(chosen_by)
        for place, action in enumerate(chosen_by.actions):
            z, count = log_odds[:, place], counts[:, place]
            maps[candidate, action] = _map(z, count, views)
            rate = rates.rate_of(logistic_map.apply(maps[candidate, action], z))
            told[candidate, action] = rate
            lost = rates.loss(count, views, rate).sum() / views.sum()
            losses.append((action, candidate, float(lost), len(views)))
    columns = ["action", "candidate", "held_log_loss", "held_posts"]
    selection = pd.DataFrame(losses, columns=columns)
    trained = Trained(models, maps, selection, {}, chosen_by.actions)
    strengths = {
        action: rates.strength(counts[:, place], views, told[trained.best(action), action])
        for place, action in enumerate(chosen_by.actions)
    }
    return Trained(models, maps, selection, strengths, chosen_by.actions)


def _map(z: Numbers, count: Numbers, views: Numbers) -> Calibration:
    """Return what calibrates log-odds by views of later posts; nothing where all end alike.

    A post weighs its views, but no more than LARGEST_SHARE of all: one that everybody saw would be
    the map.
    """
    label = np.repeat([1.0, 0.0], len(z))
    share = rates.capped(views, LARGEST_SHARE) / np.maximum(views, 1)
    weight = np.concatenate([count * share, (views - count) * share])
    if not 0 < count.sum() < views.sum():
        return Calibration()
    found = logistic_map.fit(np.tile(z, 2), label, weight)
    # Scores that rank later posts backwards keep their slope there, however wild they are; what
    # says less than one rate for all says one rate for all.
    level = np.log(weight[: len(z)].sum()) - np.log(weight[len(z) :].sum())
    flat = Calibration(0.0, float(level))
    return min((found, flat), key=lambda one: _lost(one, z, count * share, views * share))


def _lost(one: Calibration, z: Numbers, count: Numbers, views: Numbers) -> float:
    return float(rates.loss(count, views, rates.rate_of(logistic_map.apply(one, z))).sum())


def baselines(trained: Trained) -> dict[str, Fitted]:
    """Return the baselines by name: each of them for all actions."""
    return {each.model: trained.serving(dict.fromkeys(trained.actions, each)) for each in BASELINES}
