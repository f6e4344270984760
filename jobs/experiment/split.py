"""The split of users between the arms of an experiment: salted, sticky, the same in SQL.

A user's bucket is a hash of the experiment's salt and the user id alone. So it never changes while
the salt stays, experiments with different salts split independently of each other, and nobody
needs a table of assignments. experiment.bucket and experiment.arm are the same functions in SQL.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sqlalchemy import Engine

from jobs.warehouse import execute, rows, sql_file

BUCKETS = 2**32


class NoExperiment(LookupError):
    """The experiment does not exist, or does not run on that day."""


@dataclass(frozen=True)
class Frozen:
    """The split of one experiment on one day.

    Attributes:
        salt: what users are hashed with.
        arms: arms, the one that the others are compared with first.
        shares: share of the users for each, 0 to 1.
    """

    salt: str
    arms: tuple[str, ...]
    shares: tuple[float, ...]


def bucket(salt: str, user_ids: ArrayLike) -> NDArray[np.float64]:
    """Return where each user lies in [0, 1): first 8 hex digits of sha256(salt:id) / 2^32."""
    begun = sha256(f"{salt}:".encode())

    def first_bytes(user_id: int) -> bytes:
        hashed = begun.copy()
        hashed.update(b"%d" % user_id)
        return hashed.digest()[:4]

    ids = np.asarray(user_ids, dtype=np.int64).ravel()
    joined = b"".join(map(first_bytes, ids.tolist()))
    return np.frombuffer(joined, dtype=">u4").astype(np.float64) / BUCKETS


def arm(
    salt: str, arms: Sequence[str], shares: Sequence[float], user_ids: ArrayLike
) -> NDArray[np.object_]:
    """Return each user's arm: the first whose cumulated share exceeds the user's bucket, or None.

    Raises:
        ValueError: if arms and shares don't match.
    """
    if len(arms) != len(shares):
        raise ValueError(f"{len(arms)} arms and {len(shares)} shares; expected one share an arm")
    # Summed one after the other, as experiment.arm does: the same bits at the borders.
    ends = np.cumsum(np.asarray(shares, dtype=np.float64))
    named = np.array([*arms, None], dtype=object)
    places: NDArray[np.object_] = named[np.searchsorted(ends, bucket(salt, user_ids), side="right")]
    return places


def frozen(engine: Engine, name: str, as_of: date) -> Frozen:
    """Return the split of ``as_of``: as the first run of that day found it, whatever came later.

    Raises:
        NoExperiment: if there is no such experiment, or it does not run on that day.
    """
    with engine.begin() as connection:
        execute(connection, "experiment/freeze.sql", name=name, as_of=as_of)
        found = rows(connection, sql_file("experiment/frozen.sql"), name=name, as_of=as_of)
    if not found:
        raise NoExperiment(
            f"experiment {name} {as_of}: none runs on that day; "
            "see starts_on and ends_on in experiment.experiment"
        )
    kept = found[0]
    return Frozen(kept["salt"], tuple(kept["arms"]), tuple(kept["shares"]))
