"""What a client's silence so far says of the next state: who waits long is rather gone.

A model of what comes next knows the steps, not that nothing has come since. Of the clients whose
next step is a view, say, most take it soon; each day without it makes the silence that ends in
churn more likely (Bayes), by how long clients waited in the past.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jobs.client_behavior.sequences import Sequences, Times

# Ends of the waits that are counted together: 1 minute to 133 days, each a half more.
BOUNDS_US = np.round(60e6 * 1.5 ** np.arange(31)).astype(np.int64)

Numbers = NDArray[np.float64]


class Waits(NamedTuple):
    """How long clients waited: the share of those who went on into a state that waited longer.

    ``longer`` has a row for each state and a column for each of BOUNDS_US.
    """

    longer: Numbers


def learn(found: Sequences) -> Waits:
    """Return how long the events of ``found`` took to come, by the state that came."""
    states = len(found.states)
    waited, code = found.waited(), found.state
    gone = states - 1
    known = (waited >= 0) & (code != gone) & (found.before() != gone)
    place = np.searchsorted(BOUNDS_US, waited[known], side="left")
    counts = np.zeros((states, len(BOUNDS_US) + 1))
    np.add.at(counts, (code[known], place), 1)
    # A state that was seen little waits as all do.
    counts += 5 * counts.sum(axis=0) / max(counts.sum(), 1)
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1e-9)
    longer = 1 - np.cumsum(counts, axis=1)[:, :-1] / total
    longer = np.clip(longer, 1e-9, 1)
    longer[gone] = 1
    return Waits(longer)


def after_silence(
    waits: Waits, chances: Numbers, silent: Times, gone: NDArray[np.bool_]
) -> Numbers:
    """Return what comes next for clients who have done nothing for ``silent`` microseconds.

    Args:
        waits: what `learn` returned.
        chances: a row a client, what comes next as told by the steps alone.
        silent: microseconds since each client's last event.
        gone: clients who count as gone already: nothing more is known of them.

    Returns:
        Rows that sum to one.
    """
    place = np.searchsorted(BOUNDS_US, silent, side="right") - 1
    still = np.where(place[:, None] >= 0, waits.longer.T[np.maximum(place, 0)], 1.0)
    still[gone] = 1
    found = chances * still
    total: Numbers = found / found.sum(axis=1, keepdims=True)
    return total
