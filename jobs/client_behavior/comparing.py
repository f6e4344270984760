"""The honest comparison: every candidate asked about the same later events and clients."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
        state_of: state that each step led to (`states.state_of`); empty where that is not asked.
    """

    known: Sequences
    later: Sequences
    cutoff: date
    as_of: date
    silence_days: int
    came_back: pd.DataFrame
    state_of: Mapping[str, str] = field(default_factory=dict)

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

    A version that knows other states or steps than a setting asks for now can't be asked, and has
    the loss of the floor: it gives way to whatever beats that.
    """
    whole = asked.whole()
    wanted = asked.wanted(whole)
    happened = whole.state[wanted]
    rows = {"client_id": whole.clients[whole.client()[wanted]]}
    for version, one in fitted.items():
        knows = one if model.knows(one, whole.states, asked.state_of) else _floor(fitted, asked)
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
        knows = one if model.knows(one, whole.states, asked.state_of) else _floor(fitted, asked)
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
    truth = {name: of_what_came(each, whole.state[wanted]) for name, each in chances}
    truth[BLEND] = blend.mixed(truth, trained.blends["next"])
    rows = _rows("next", truth, who, {})
    before = whole.between(0, microseconds(asked.cutoff))
    standing = Standing(fitted, before, microseconds(asked.cutoff))
    outcomes = asked.outcomes(whole)
    for head in HEADS:
        label = getattr(outcomes, head)
        seen = ~np.isnan(label)
        told = model.head_chances(standing, head, OF_HEADS)
        told[BLEND] = blend.mixed(told, trained.blends[head])
        truth, figures = {}, {}
        for name, each in told.items():
            z = logistic_map.log_odds(each[seen])
            chance = logistic_map.probability(logistic_map.apply(trained.maps[head, name], z))
            truth[name] = of_what_came(chance, label[seen])
            # Where nobody bought or everybody left, no metric but the loss is defined.
            both = 0 < label[seen].sum() < seen.sum()
            figures[name] = evaluation.metrics(label[seen], chance) if both else {}
        rows += _rows(head, truth, before.clients[seen], figures)
    found = pd.DataFrame(rows).astype(dict.fromkeys(HEAD_METRICS, float))
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


def _rows(
    task: str,
    of_truth: Mapping[str, Numbers],
    who: NDArray[np.int64],
    figures: Mapping[str, Mapping[str, float]],
) -> list[dict[str, object]]:
    """Return a row for each candidate; the intervals of all are of the same resamples."""
    losses = pd.DataFrame(
        {name: -np.log(np.maximum(each, LEAST_CHANCE)) for name, each in of_truth.items()}
    )
    means = mean_samples(losses.assign(who=who), list(of_truth), "who")
    rows: list[dict[str, object]] = []
    for name, loss in losses.items():
        low, high = np.quantile(means[str(name)], [0.025, 0.975])
        rows.append(
            {
                "task": task,
                "candidate": name,
                "log_loss": float(loss.mean()),
                "log_loss_low": float(low),
                "log_loss_high": float(high),
                **{metric: figures.get(str(name), {}).get(metric) for metric in HEAD_METRICS},
                "rows": len(loss),
            }
        )
    return rows


def _floor(fitted: Mapping[str, Fitted], asked: Asked) -> Fitted:
    """Return the version that knows the states and says the same to everybody."""
    return next(
        one
        for one in fitted.values()
        if model.knows(one, asked.known.states, asked.state_of)
        and one.serves["next"].keys() == {"markov_0"}
    )
