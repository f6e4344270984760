"""What clients did, from the warehouse: the steps of a window as sequences of states."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Engine

from jobs.client_behavior import states
from jobs.client_behavior.sequences import MOST_EVENTS, Sequences, build
from jobs.warehouse import read_arrow

# What is older says little of what comes next, and a night costs what its window holds.
WINDOW = timedelta(days=180)


def steps(
    engine: Engine,
    first_day: date,
    as_of: date,
    known_by: date,
    shard: int = 0,
    shards: int = 1,
    *,
    state_of: Mapping[str, str] | None = None,
    most: int | None = MOST_EVENTS,
) -> Sequences:
    """Return what clients did from ``first_day`` to before ``as_of``, known by ``known_by``.

    Steps that lead to no state are left out; silence is not in it yet. Without ``state_of`` the map
    is the one that is set now (`states.state_of`). Of each client the newest ``most`` are there;
    None for all.
    """
    found = read_arrow(
        engine,
        "client_behavior/steps.sql",
        first_day=first_day,
        as_of=as_of,
        known_by=known_by,
        shard=shard,
        shards=shards,
    )
    return of_rows(found, state_of or states.state_of(), most)


def of_rows(
    found: pa.Table, state_of: Mapping[str, str], most: int | None = MOST_EVENTS
) -> Sequences:
    """Return the sequences of rows of steps.sql, by the state that each step leads to."""
    named = states.names(state_of)
    code_of = {step: named.index(state) for step, state in state_of.items()}
    table = found.combine_chunks()
    client = table["client_id"].to_numpy()
    lengths = pc.list_value_length(table["steps"]).to_numpy()
    told = pc.list_flatten(table["steps"]).combine_chunks().dictionary_encode()
    codes = np.array([code_of.get(step, -1) for step in told.dictionary.to_pylist()], np.int8)
    state = codes[told.indices.to_numpy()] if len(codes) else np.zeros(0, np.int8)
    at = pc.list_flatten(table["times"]).cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    known = state >= 0
    return build(named, np.repeat(client, lengths)[known], at[known], state[known], most)


def microseconds(day: date) -> int:
    """Return the beginning of a day, UTC, in microseconds since 1970."""
    return round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
