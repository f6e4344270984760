"""The experiments: every candidate on the same later posts, with and without pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs import calibration as logistic_map
from jobs import evaluation
from jobs.champion.gate import SEED
from jobs.post_conversion import model, rates
from jobs.post_conversion.model import Candidate, Fitted
from jobs.post_conversion.rows import Rows
from jobs.post_conversion.training import Trained

FIGURES = (
    "spearman", "spearman_within", "absolute_error", "calibration_error", "top_decile_lift",
)  # fmt: skip

Numbers = NDArray[np.float64]


def losses(
    fitted: Mapping[str, Fitted], rows: Rows, actions: Sequence[str] = ()
) -> dict[str, pd.DataFrame]:
    """Return the gate's rows: post_id and, for each version, the log-loss of a post's views.

    Key ``all`` is the sum over actions, the log-likelihood of everything that became of a view; the
    other keys are actions. A post counts by its views: its loss is divided by the mean views of a
    post, so that the mean over posts is the loss of a view. A version that does not know an action
    says one half, and loses.

    Args:
        fitted: the versions.
        rows: the posts.
        actions: those that are asked about; default those of ``rows``.
    """
    asked = tuple(actions) or rows.actions
    seen = rows.where(rows.views > 0)
    counts, views = replace(seen, actions=asked).counts(), seen.views
    found = {name: {"post_id": seen.posts["post_id"].to_numpy()} for name in ("all", *asked)}
    for version, one in fitted.items():
        told = model.predicted(one, seen)
        rate = {action: told[:, place] for place, action in enumerate(one.actions)}
        total = np.zeros(len(views))
        for place, action in enumerate(asked):
            chance = rate.get(action, np.full(len(views), 0.5))
            lost = rates.loss(counts[:, place], views, chance) / views.mean()
            found[action][version] = lost
            total = total + lost
        found["all"][version] = total
    return {name: pd.DataFrame(columns) for name, columns in found.items()}


def table(trained: Trained, serves: Mapping[str, Candidate], rows: Rows) -> pd.DataFrame:
    """Return what every candidate foretold of the gate's posts, an action and candidate a row.

    Columns: action, model, text, with_pictures, serves, held_log_loss and held_posts (of the posts
    it was chosen by); log_loss of a view with its 95 % interval over posts (log_loss_low,
    log_loss_high); FIGURES; interval_coverage (share of posts whose count lies within the 95 %
    interval, of what serves); picture_gain (how much less a view loses with pictures than without,
    the same model, the same posts; null without) with its paired interval (picture_gain_low,
    picture_gain_high); posts, views.
    """
    seen = rows.where(rows.views > 0)
    counts, views = seen.counts(), seen.views
    weights = _resamples(len(views))
    drawn_views = weights @ views
    told = {candidate: one.log_odds(seen) for candidate, one in trained.models.items()}
    found = []
    for place, action in enumerate(rows.actions):
        lost, drawn = {}, {}
        for candidate, log_odds in told.items():
            z = logistic_map.apply(trained.maps[candidate, action], log_odds[:, place])
            rate = rates.rate_of(z)
            lost[candidate] = rates.loss(counts[:, place], views, rate)
            drawn[candidate] = weights @ lost[candidate] / drawn_views
            figures = rates.figures(counts[:, place], views, rate, seen.posts["topic"].to_numpy())
            low, high = np.quantile(drawn[candidate], [rates.TAIL, 1 - rates.TAIL])
            row: dict[str, object] = {
                "action": action,
                **candidate._asdict(),
                "candidate": candidate,
                "serves": serves[action] == candidate,
                "log_loss": figures["log_loss"],
                "log_loss_low": low,
                "log_loss_high": high,
                **{name: figures[name] for name in FIGURES},
                "interval_coverage": rates.coverage(
                    counts[:, place], views, rate, trained.strengths[action]
                )
                if serves[action] == candidate
                else np.nan,
                "posts": len(views),
                "views": int(views.sum()),
            }
            without = candidate._replace(with_pictures=False)
            if candidate.with_pictures:
                gain = (lost[without] - lost[candidate]).sum() / views.sum()
                low, high = np.quantile(
                    drawn[without] - drawn[candidate], [rates.TAIL, 1 - rates.TAIL]
                )
                row |= {"picture_gain": gain, "picture_gain_low": low, "picture_gain_high": high}
            found.append(row)
    frame = pd.DataFrame(found)
    for name in ("picture_gain", "picture_gain_low", "picture_gain_high"):
        frame[name] = frame.get(name, np.nan)
    frame = frame.merge(trained.selection, on=["action", "candidate"], how="left")
    return frame.drop(columns="candidate")


def _resamples(posts: int) -> Numbers:
    """Return how often each post is in each bootstrap sample: samples x posts."""
    random = np.random.default_rng(SEED)
    drawn = np.zeros((evaluation.RESAMPLES, posts))
    for sample in drawn:
        sample += np.bincount(random.integers(0, posts, posts), minlength=posts)
    return drawn
