"""The honest comparison: every candidate asked about the same later events and clients."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs import calibration as logistic_map
from jobs import evaluation
from jobs.champion.gate import mean_samples
from jobs.client_behavior import blend, model
from jobs.client_behavior.labels import HEADS, Marks, marks
from jobs.client_behavior.model import NEXT, OF_HEADS, Fitted, Standing
from jobs.client_behavior.reading import WINDOW, microseconds
from jobs.client_behavior.sequences import DAY_US, Flags, Sequences, joined, with_churn
from jobs.client_behavior.training import BLEND, Trained, of_what_came

LEAST_CHANCE = 1e-6
HEAD_METRICS = ("roc_auc", "pr_auc", "brier", "ece")

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """The gate's question of one day.

    Attributes:
        known: what clients did before ``cutoff``, as it was known then; no churn in it.
        later: what they did from ``cutoff`` to before ``as_of``, as it is known now.
        cutoff: day that everything is foretold from.
        as_of: end of what is foretold.
        silence_days: days without an event that are churn.
        came_back: what `silence.came_back` returned.
    """

    known: Sequences
    later: Sequences
    cutoff: date
    as_of: date
    silence_days: int
    came_back: pd.DataFrame

    def before(self) -> Sequences:
        """Return what was known at the cutoff, all of it, churn among it."""
        return with_churn(self.known, self.silence_days * DAY_US, microseconds(self.cutoff))

    def whole(self) -> Sequences:
        """Return the window before the cutoff and what came after it, churn among it."""
        first = microseconds(self.cutoff - WINDOW)
        recent = self.known.between(first, microseconds(self.cutoff))
        both = joined(recent, self.later)
        return with_churn(both, self.silence_days * DAY_US, microseconds(self.as_of))

    def wanted(self, whole: Sequences) -> Flags:
        """Return which events of ``whole`` are asked about: those from the cutoff on."""
        return np.asarray(whole.at >= microseconds(self.cutoff))

    def outcomes(self, whole: Sequences) -> Marks:
        """Return what came of every client seen before the cutoff."""
        return marks(whole, [microseconds(self.cutoff)])


def losses(fitted: Mapping[str, Fitted], asked: Asked) -> pd.DataFrame:
    """Return the gate's rows: client_id and, for each version, the log-loss of each later event.

    A version that knows other states than a setting asks for now can't be asked, and has the loss
    of the floor: it gives way to whatever beats that.
    """
    whole = asked.whole()
    wanted = asked.wanted(whole)
    happened = whole.state[wanted]
    rows = {"client_id": whole.clients[whole.client()[wanted]]}
    for version, one in fitted.items():
        knows = one if one.states == whole.states else _floor(fitted, whole.states)
        of_truth = of_what_came(model.served_next(knows, whole, wanted), happened)
        rows[version] = -np.log(np.maximum(of_truth, LEAST_CHANCE))
    return pd.DataFrame(rows)


def head_losses(fitted: Mapping[str, Fitted], asked: Asked) -> dict[str, pd.DataFrame]:
    """Return the gate's guards, purchase_log_loss and churn_log_loss, for each version.

    Columns: client_id and, for each version, the log-loss of each client seen before the cutoff of
    whom there is something to say. A version that can't be asked has the loss of the floor, as in
    `losses`.
    """
    whole, moment = asked.whole(), microseconds(asked.cutoff)
    before, outcomes = whole.between(0, moment), asked.outcomes(whole)
    standings = {}
    for version, one in fitted.items():
        knows = one if one.states == whole.states else _floor(fitted, whole.states)
        standings[version] = Standing(knows, before, moment)
    found = {}
    for head in HEADS:
        label = getattr(outcomes, head)
        seen = ~np.isnan(label)
        rows = {"client_id": before.clients[seen]}
        for version, standing in standings.items():
            of_truth = of_what_came(model.served_head(standing, head)[seen], label[seen])
            rows[version] = -np.log(np.maximum(of_truth, LEAST_CHANCE))
        found[f"{head}_log_loss"] = pd.DataFrame(rows)
    return found


def table(trained: Trained, asked: Asked) -> pd.DataFrame:
    """Return each task's candidates on the gate's rows, beside what they did on held-out clients.

    Columns: task, candidate, share (in what serves, 0 where it does not, 1 for the blend itself
    where it serves), held_log_loss, held_rows;
    log_loss with its 95 % interval over clients (log_loss_low, log_loss_high); for who buys and who
    leaves also HEAD_METRICS; rows. Heads are calibrated as the training calibrated them.
    """
    fitted, whole = trained.fitted["model"], asked.whole()
    wanted = asked.wanted(whole)
    who = whole.clients[whole.client()[wanted]]
    chances = model.next_chances(fitted, whole, wanted, NEXT)
    truth = {name: of_what_came(each, whole.state[wanted]) for name, each in chances.items()}
    truth[BLEND] = blend.mixed(truth, trained.blends["next"])
    rows = [_row("next", name, each, who, {}) for name, each in truth.items()]
    before = whole.between(0, microseconds(asked.cutoff))
    standing = Standing(fitted, before, microseconds(asked.cutoff))
    outcomes = asked.outcomes(whole)
    for head in HEADS:
        label = getattr(outcomes, head)
        seen = ~np.isnan(label)
        told = model.head_chances(standing, head, OF_HEADS)
        told[BLEND] = blend.mixed(told, trained.blends[head])
        for name, each in told.items():
            z = logistic_map.log_odds(each[seen])
            chance = logistic_map.probability(logistic_map.apply(trained.maps[head, name], z))
            figures = evaluation.metrics(label[seen], chance)
            rows.append(
                _row(
                    head,
                    name,
                    of_what_came(chance, label[seen]),
                    before.clients[seen],
                    {metric: figures[metric] for metric in HEAD_METRICS},
                )
            )
    found = pd.DataFrame(rows)
    for metric in HEAD_METRICS:
        found[metric] = found.get(metric, np.nan)
    shares = pd.Series(
        {
            (task, name): weight
            for task, share in fitted.serves.items()
            for name, weight in share.items()
        }
    )
    for task, share in fitted.serves.items():
        shares[task, BLEND] = float(len(share) > 1)
    key = pd.MultiIndex.from_frame(found[["task", "candidate"]])
    found["share"] = shares.reindex(key).fillna(0).to_numpy()
    return found.merge(trained.selection, on=["task", "candidate"], how="left")


def _row(
    task: str, name: str, of_truth: Numbers, who: NDArray[np.int64], more: Mapping[str, float]
) -> dict[str, object]:
    loss = -np.log(np.maximum(of_truth, LEAST_CHANCE))
    means = mean_samples(pd.DataFrame({"who": who, "loss": loss}), ["loss"], "who")["loss"]
    low, high = np.quantile(means, [0.025, 0.975])
    return {
        "task": task,
        "candidate": name,
        "log_loss": float(loss.mean()),
        "log_loss_low": float(low),
        "log_loss_high": float(high),
        **more,
        "rows": len(loss),
    }


def _floor(fitted: Mapping[str, Fitted], states: tuple[str, ...]) -> Fitted:
    """Return the version that knows the states and says the same to everybody."""
    return next(
        one
        for one in fitted.values()
        if one.states == states and one.serves["next"].keys() == {"markov_0"}
    )
