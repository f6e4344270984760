"""Clients drawn from a chain that is known, for tests of what is learned from them.

A context's code has one digit of base S + 1 for each event back, the newest last (the least
significant); S itself, `Sequences.start`, stands where there is none.
"""

import numpy as np
from numpy.typing import NDArray

from jobs.client_behavior.sequences import CHURN, DAY_US, PURCHASE, Sequences

STATES = ("view", "cart", PURCHASE, "click", CHURN)
CHURN_CHANCE = 0.02
SILENCE_US = 30 * DAY_US
MINUTE_US = 60_000_000
SESSION_ENDS = 0.25
BEGIN_US = 1_700_000_000_000_000
BLOCK = 20_000

Numbers = NDArray[np.float64]


def planted(order: int, states: tuple[str, ...] = STATES) -> Numbers:
    """Return the true chances of the next state, shape ((S + 1) ** order, S), the same each time.

    Every context has favourites of its own, so that of two events back counts as much as that of
    one; a client churns with CHURN_CHANCE after whatever they did.
    """
    size = len(states)
    random = np.random.default_rng(size)
    living = random.dirichlet(np.full(size - 1, 0.8), (size + 1) ** order)
    living = 0.9 * living + 0.1 / (size - 1)
    churn = np.full((len(living), 1), CHURN_CHANCE)
    return np.hstack([(1 - CHURN_CHANCE) * living, churn])


def draw(
    seed: int,
    clients: int,
    events: int,
    order: int = 1,
    effects: float | None = None,
    states: tuple[str, ...] = STATES,
) -> Sequences:
    """Return clients with ``events`` events each, or fewer, where a churn is their last.

    Args:
        seed: of everything that is drawn.
        clients: how many.
        events: the most that a client has.
        order: of the planted chain.
        effects: how much clients differ: the correlation of what one client does after one context,
            between 0 and 1. Each has their own chances, Dirichlet around the planted ones; None or
            0 for clients who are all alike.
        states: names, churn last.
    """
    random = np.random.default_rng(seed)
    chances = planted(order, states)
    blocks = [
        _states(random, min(BLOCK, clients - first), events, len(states), chances, effects)
        for first in range(0, clients, BLOCK)
    ]
    grid = np.vstack(blocks)
    lived = grid < len(states)
    counts = lived.sum(axis=1)
    return Sequences(
        states,
        3 * np.arange(clients, dtype=np.int64) + 11,
        np.concatenate([[0], np.cumsum(counts)]),
        grid[lived],
        _times(random, grid == len(states) - 1)[lived],
    )


def chances_of(found: Sequences, order: int) -> Numbers:
    """Return the planted chances at each event of clients who are all alike, shape (events, S)."""
    base = len(found.states) + 1
    context = sum(
        found.before(back).astype(np.int64) * base ** (back - 1) for back in range(1, order + 1)
    )
    return planted(order, found.states)[context]


def _states(
    random: np.random.Generator,
    clients: int,
    events: int,
    size: int,
    chances: Numbers,
    effects: float | None,
) -> NDArray[np.int8]:
    """Return one row of states a client; the start's code after a churn."""
    laws = np.broadcast_to(np.cumsum(chances, axis=1), (clients, *chances.shape))
    if effects:
        weights = random.standard_gamma(
            np.broadcast_to((1 - effects) / effects * chances, laws.shape)
        )
        weights = np.maximum(weights, 1e-300)
        laws = np.cumsum(weights / weights.sum(axis=2, keepdims=True), axis=2)
    context = np.full(clients, len(chances) - 1)
    everyone = np.arange(clients)
    found = np.full((clients, events), size, np.int8)
    alive = np.ones(clients, bool)
    for place in range(events):
        passed = random.random(clients)[:, None] > laws[everyone, context, :-1]
        state = passed.sum(axis=1)
        found[alive, place] = state[alive]
        alive &= state != size - 1
        context = (context * (size + 1) + state) % len(chances)
    return found


def _times(random: np.random.Generator, churns: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return ascending times: minutes within a session, days between, a long silence to a churn."""
    minutes = random.lognormal(np.log(2 * MINUTE_US), 1.0, churns.shape)
    days = random.lognormal(np.log(2 * DAY_US), 0.7, churns.shape)
    gaps = np.where(random.random(churns.shape) < SESSION_ENDS, days, minutes)
    gaps = np.where(churns, SILENCE_US, np.minimum(gaps, SILENCE_US - 1))
    gaps[:, 0] = random.uniform(0, 90 * DAY_US, len(gaps))
    return BEGIN_US + np.cumsum(gaps.astype(np.int64) + 1, axis=1)
