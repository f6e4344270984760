"""Vectors of posts' pictures: each picture is embedded once by each encoder, and kept."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from jobs.post_conversion import decoding
from jobs.post_conversion.decoding import Picture, Refused
from jobs.post_conversion.image_encoders import ImageEncoder
from jobs.warehouse import execute, read_arrow, read_sql

log = logging.getLogger(__name__)

THREADS = 2  # decoding leaves Python to others; the third would only hold memory
# Pictures in memory at once: as many as fill so many bytes, and no more than MOST_PICTURES.
BLOCK_BYTES = 32_000_000
MOST_PICTURES = 256
BEFORE_ALL = -(2**63)


@dataclass(frozen=True)
class Embedded:
    """What became of the pictures that posts have as of a day.

    Attributes:
        known: had a vector already.
        embedded: were embedded now.
        refused: were looked at now, and can't be embedded; those refused for good on an earlier
            night are not looked at again.
    """

    known: int
    embedded: int
    refused: int


def embed_new(engine: Engine, as_of: date, encoder: ImageEncoder) -> Embedded:
    """Embed the pictures that posts have as of a day and ``encoder`` has not embedded yet.

    What can't be had goes to quarantine.post_picture with its reason. Each block is kept as soon
    as it is made, so a run that was killed goes on where it stopped, and of two at once one keeps
    what both made.

    Args:
        engine: the warehouse.
        as_of: day whose pictures are meant.
        encoder: what embeds them.

    Raises:
        BadSetting: if a folder of NIGHTSHIFT_IMAGE_ROOTS is not there.
    """
    roots = decoding.roots()
    counted = read_sql(
        engine,
        "post_conversion/known_pictures.sql",
        as_of=as_of,
        encoder_version=encoder.version,
    )
    embedded = refused = 0
    why_not: Counter[str] = Counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for block in _new_blocks(engine, as_of, encoder):
            uris = block["uri"].tolist()
            found = list(pool.map(lambda uri: _small(uri, roots, encoder.side), uris))
            good = np.array([not isinstance(each, Refused) for each in found])
            pictures = [each for each in found if not isinstance(each, Refused)]
            reasons = [each.reason for each in found if isinstance(each, Refused)]
            _keep(engine, as_of, encoder, block[good], pictures)
            _refuse(engine, as_of, encoder, block[~good], reasons)
            why_not.update(reasons)
            embedded += len(pictures)
            refused += len(reasons)
    done = Embedded(int(counted["known"].iloc[0]), embedded, refused)
    log.info("pictures as of %s, %s: %s", as_of, encoder.version, done)
    if refused:
        log.warning(
            "%d pictures of posts as of %s could not be had: %s; their posts go on without. "
            "quarantine.post_picture names each; their files belong under %s",
            refused, as_of, ", ".join(f"{n} {why}" for why, n in why_not.most_common()),
            ", ".join(map(str, roots)) or "a folder that NIGHTSHIFT_IMAGE_ROOTS names",
        )  # fmt: skip
    return done


def vectors(engine: Engine, as_of: date, encoder_version: str) -> pd.DataFrame:
    """Return post_id, uri and vector (float32) of the pictures that ``as_of`` knew.

    One row for each post and address it had by then, so of a post whose picture was changed
    several; a picture that could not be embedded has none.
    """
    table = read_arrow(
        engine,
        "post_conversion/picture_vectors.sql",
        as_of=as_of,
        encoder_version=encoder_version,
    )
    found: pd.DataFrame = table.select(["post_id", "uri"]).to_pandas()
    if found.empty:
        return found.assign(vector=[])
    numbers = np.concatenate([each.flatten() for each in table["embedding"].chunks])
    return found.assign(vector=list(numbers.reshape(len(found), -1)))


def _new_blocks(engine: Engine, as_of: date, encoder: ImageEncoder) -> Iterator[pd.DataFrame]:
    """Yield post_id and uri of what is still to be embedded, a block at a time.

    Each block is a query of its own: a first night takes hours, and one query would keep a
    snapshot open for as long.
    """
    after = BEFORE_ALL
    fitting = BLOCK_BYTES // (encoder.side * encoder.side * 3)
    while True:
        block = read_sql(
            engine,
            "post_conversion/new_pictures.sql",
            as_of=as_of,
            encoder_version=encoder.version,
            may_pass=list(decoding.MAY_PASS),
            after=after,
            block_rows=max(1, min(MOST_PICTURES, fitting)),
        )
        if block.empty:
            return
        yield block
        after = int(block["post_id"].iloc[-1])


def _small(uri: str, roots: Sequence[Path], side: int) -> Picture | Refused:
    """Return the picture as the encoder takes it, or why there is none."""
    try:
        return decoding.resized(decoding.opened(uri, roots, side), side)
    except Refused as why:
        return why


def _keep(
    engine: Engine,
    as_of: date,
    encoder: ImageEncoder,
    block: pd.DataFrame,
    pictures: Sequence[Picture],
) -> None:
    if not pictures:
        return
    made = encoder.embed(np.stack(pictures))
    which = {"post_ids": block["post_id"].tolist(), "uris": block["uri"].tolist()}
    with engine.begin() as connection:
        execute(
            connection,
            "post_conversion/insert_picture_vectors.sql",
            encoder_version=encoder.version,
            as_of=as_of,
            vectors=[f"{{{','.join(map(str, row))}}}" for row in made.tolist()],
            **which,
        )
        execute(connection, "post_conversion/clear_pictures.sql", **which)


def _refuse(
    engine: Engine,
    as_of: date,
    encoder: ImageEncoder,
    block: pd.DataFrame,
    reasons: Sequence[str],
) -> None:
    if not reasons:
        return
    with engine.begin() as connection:
        execute(
            connection,
            "post_conversion/refuse_pictures.sql",
            as_of=as_of,
            encoder_version=encoder.version,
            post_ids=block["post_id"].tolist(),
            uris=block["uri"].tolist(),
            reasons=list(reasons),
        )
