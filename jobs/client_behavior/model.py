"""A fitted model: what comes next, who buys, who leaves; and the candidates it was chosen from."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs import calibration as logistic_map
from jobs.calibration import Calibration
from jobs.client_behavior import blend, features, lstm, markov, states, tabular, waiting
from jobs.client_behavior.labels import HEADS
from jobs.client_behavior.lstm import Lstm
from jobs.client_behavior.markov import Chain
from jobs.client_behavior.sequences import CHURN, PURCHASE, Flags, Sequences
from jobs.settings import BadSetting

ORDERS = {f"markov_{order}": order for order in range(4)}
# What comes next, by each candidate; a blend of them is one more.
NEXT = (*ORDERS, "markov_personal", *tabular.MODELS, "lstm")
# Who buys and who leaves; recency is a regression on how long ago the last event and purchase were.
OF_HEADS = ("base_rate", "recency", "chain", *tabular.MODELS, "lstm")
TASKS = ("next", *HEADS)
RECENCY = ("days_since_event", "days_since_purchase")

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """Everything that a version needs to score.

    Attributes:
        name: what serves, in words.
        states: names of the states, churn last.
        silence_days: days without an event after which a client counts as gone.
        chain: Markov chains of all orders.
        waits: how long clients wait for each state.
        lstm: the network, where it serves.
        tabular: regressions and trees that serve, by task and name.
        serves: for each of TASKS, the candidates that serve and their shares.
        maps: for each of HEADS, the map that calibrates what its candidates say together.
        rates: for each of HEADS, the share of clients it happened to.
        before: for each state, the chance of a purchase before churn from there.
        state_of: state that each step led to, in their order (`states.state_of`).
        table: the candidates of the training, one row a task and candidate.
    """

    name: str
    states: tuple[str, ...]
    silence_days: int
    chain: Chain
    waits: waiting.Waits
    lstm: Lstm | None
    tabular: Mapping[str, Any]
    serves: Mapping[str, Mapping[str, float]]
    maps: Mapping[str, Calibration]
    rates: Mapping[str, float]
    before: tuple[float, ...]
    state_of: Mapping[str, str] = field(default_factory=dict)
    table: pd.DataFrame | None = field(default=None, compare=False)


class StatesChanged(BadSetting):
    """The model knows other states than the sequences have."""


def next_chances(
    fitted: Fitted, found: Sequences, wanted: Flags | None, names: Sequence[str]
) -> Iterator[tuple[str, Numbers]]:
    """Yield each candidate and the chance of each state at each wanted event: events x states.

    One after the other: of millions of events those of all candidates do not fit.
    """
    require_states(fitted, found)
    read = features.of_events(found, wanted) if set(names) & set(tabular.MODELS) else None
    for name in names:
        yield name, _next(fitted, found, wanted, read, name)


def served_next(fitted: Fitted, found: Sequences, wanted: Flags | None = None) -> Numbers:
    """Return the chance of each state at each wanted event, by what serves: events x states."""
    share = fitted.serves["next"]
    return blend.mixed(dict(next_chances(fitted, found, wanted, sorted(share))), share)


@dataclass(frozen=True)
class Standing:
    """Clients at a moment, and what the candidates read of them, made once for all tasks.

    Attributes:
        fitted: the model.
        found: what clients did before ``moment``, churn among it.
        moment: microseconds since 1970 UTC.
    """

    fitted: Fitted
    found: Sequences
    moment: int

    def __post_init__(self) -> None:
        """Raise StatesChanged where a setting has changed the states since the training."""
        require_states(self.fitted, self.found)

    @cached_property
    def past(self) -> pd.DataFrame:
        """Return `features.of_ends`."""
        return features.of_ends(self.found)

    @cached_property
    def traits(self) -> pd.DataFrame:
        """Return `features.of_clients`."""
        return features.of_clients(self.found, self.moment)

    @cached_property
    def network(self) -> lstm.After:
        """Return what the network says of them."""
        assert self.fitted.lstm is not None
        return lstm.after(self.fitted.lstm, self.found, self.moment)

    @cached_property
    def gone(self) -> Flags:
        """Return who counts as gone already."""
        return np.asarray(self.found.ends() == len(self.found.states) - 1)


def what_comes(standing: Standing) -> Numbers:
    """Return the chance of each state to come next, given the silence up to the moment.

    Clients x states; rows sum to one.
    """
    fitted, found = standing.fitted, standing.found
    share = fitted.serves["next"]
    chances = blend.mixed({name: _ends(standing, name) for name in share}, share)
    silent = standing.moment - found.at[found.starts[1:] - 1]
    return waiting.after_silence(fitted.waits, chances, silent, standing.gone)


def head_chances(standing: Standing, head: str, names: Sequence[str]) -> dict[str, Numbers]:
    """Return, by candidate, each client's chance of a purchase or of leaving, not calibrated.

    Args:
        standing: the clients.
        head: of HEADS.
        names: of OF_HEADS.
    """
    return {name: _head(standing, head, name) for name in names}


def served_head(standing: Standing, head: str) -> Numbers:
    """Return each client's calibrated chance of a purchase or of leaving, by what serves.

    Of clients who count as gone already, the chance of leaving is NaN.
    """
    fitted = standing.fitted
    share = fitted.serves[head]
    told = blend.mixed(head_chances(standing, head, sorted(share)), share)
    z = logistic_map.apply(fitted.maps[head], logistic_map.log_odds(told))
    chance = logistic_map.probability(z)
    return np.where(standing.gone, np.nan, chance) if head == CHURN else chance


def knows(fitted: Fitted, names: tuple[str, ...], state_of: Mapping[str, str]) -> bool:
    """Return whether the model was trained on these states, reached by the same steps.

    Args:
        fitted: the model.
        names: the states.
        state_of: state that each step leads to; empty where that is not asked.
    """
    other_steps = fitted.state_of and state_of and fitted.state_of != state_of
    return fitted.states == names and not other_steps


def require_states(
    fitted: Fitted, found: Sequences, state_of: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Raise StatesChanged where a setting has changed states or steps since the training."""
    if not knows(fitted, found.states, state_of):
        raise StatesChanged(
            f"the model knows the states {', '.join(fitted.states)}; the steps lead to "
            f"{', '.join(found.states)}{moved(fitted, state_of)}: retrain the day, or set the "
            "states back"
        )


def moved(fitted: Fitted, state_of: Mapping[str, str]) -> str:
    """Return in words which steps led elsewhere at the training."""
    steps = {**fitted.state_of, **state_of} if state_of else {}
    moved = [
        f"{step} to {state_of.get(step, 'none')} and not to {fitted.state_of.get(step, 'none')}"
        for step in steps
        if state_of.get(step) != fitted.state_of.get(step)
    ]
    return f" ({', '.join(moved)})" if moved else ""


def save(fitted: Fitted, folder: Path) -> None:
    """Write the model into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "name": fitted.name,
        "states": fitted.states,
        "silence_days": fitted.silence_days,
        "waits": fitted.waits.longer.tolist(),
        "serves": fitted.serves,
        "maps": {head: asdict(one) for head, one in fitted.maps.items()},
        "rates": fitted.rates,
        "before": fitted.before,
        "state_of": list(fitted.state_of.items()),
        "tabular": sorted(fitted.tabular),
    }
    (folder / "model.json").write_text(json.dumps(told, indent=1, sort_keys=True))
    fitted.chain.save(folder / "chain.npz")
    if fitted.lstm is not None:
        fitted.lstm.save(folder / "lstm.npz")
    for name, one in fitted.tabular.items():
        joblib.dump(one, folder / f"{name}.joblib", compress=3)
    if fitted.table is not None:
        fitted.table.to_csv(folder / "candidates.csv", index=False)


def load(folder: Path) -> Fitted:
    """Read the model from ``folder``, whose checksum the registry keeps: its files are code too."""
    told = json.loads((folder / "model.json").read_text())
    network, table = folder / "lstm.npz", folder / "candidates.csv"
    return Fitted(
        name=told["name"],
        states=tuple(told["states"]),
        silence_days=told["silence_days"],
        chain=markov.load(folder / "chain.npz"),
        waits=waiting.Waits(np.array(told["waits"])),
        lstm=lstm.load(network) if network.exists() else None,
        tabular={name: joblib.load(folder / f"{name}.joblib") for name in told["tabular"]},
        serves=told["serves"],
        maps={head: Calibration(**one) for head, one in told["maps"].items()},
        rates=told["rates"],
        before=tuple(told["before"]),
        # A version of before it was kept was trained by what the setting says.
        state_of=dict(told.get("state_of") or states.state_of()),
        table=pd.read_csv(table) if table.exists() else None,
    )


def tabular_key(task: str, name: str) -> str:
    """Return what a regression or trees of one task are kept under."""
    return f"{task}_{name}"


def _next(
    fitted: Fitted, found: Sequences, wanted: Flags | None, read: pd.DataFrame | None, name: str
) -> Numbers:
    if name == "lstm":
        assert fitted.lstm is not None
        return np.asarray(lstm.next_events(fitted.lstm, found, wanted), float)
    if name in tabular.MODELS:
        assert read is not None
        return tabular.chances(fitted.tabular[tabular_key("next", name)], read, len(found.states))
    order, personal = _chain_of(fitted, name)
    return np.asarray(markov.next_events(fitted.chain, found, order, personal, wanted), float)


def _ends(standing: Standing, name: str) -> Numbers:
    fitted, found = standing.fitted, standing.found
    if name == "lstm":
        return np.asarray(standing.network.next, float)
    if name in tabular.MODELS:
        kept = fitted.tabular[tabular_key("next", name)]
        return tabular.chances(kept, standing.past, len(found.states))
    order, personal = _chain_of(fitted, name)
    return np.asarray(markov.after(fitted.chain, found, order, personal), float)


def _chain_of(fitted: Fitted, name: str) -> tuple[int, bool]:
    personal = name == "markov_personal" and fitted.chain.personal is not None
    return ORDERS.get(name, fitted.chain.order), personal


def _head(standing: Standing, head: str, name: str) -> Numbers:
    fitted, found = standing.fitted, standing.found
    if name == "base_rate":
        return np.full(len(found.clients), fitted.rates[head])
    if name == "chain":
        first = np.array(fitted.before)[found.ends()]
        return np.asarray(np.clip(first if head == PURCHASE else 1 - first, 1e-6, 1 - 1e-6))
    if name == "lstm":
        return np.asarray(getattr(standing.network, head), float)
    read = standing.traits[list(RECENCY)] if name == "recency" else standing.traits
    chances = tabular.chances(fitted.tabular[tabular_key(head, name)], read, 2)
    return np.asarray(chances[:, 1], dtype=float)
