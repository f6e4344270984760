"""Posts from the warehouse, as models read them at a day."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine

from jobs import champion
from jobs.feed_recommendation import kept, pretrained, tfidf
from jobs.feed_recommendation.tfidf import Tfidf
from jobs.post_conversion import embedding
from jobs.post_conversion.picture_axes import Axes
from jobs.post_conversion.picture_axes import fit as fit_axes
from jobs.post_conversion.rows import ACTIONS, WINDOW_DAYS, no_pictures
from jobs.settings import BadSetting
from jobs.warehouse import read_sql

# A night reads the posts of so many days; what is older says little of tomorrow's.
HISTORY_DAYS = 365
# The feed's arm whose text encoder learns from likes.
FEED_JOB = "feed_recommendation.test"

Matrix = NDArray[np.float32]


def posts(engine: Engine, as_of: date, at_publication: bool) -> pd.DataFrame:
    """Return the posts of HISTORY_DAYS before ``as_of``, rows of posts.sql."""
    return read_sql(
        engine,
        "post_conversion/posts.sql",
        as_of=as_of,
        first_day=as_of - timedelta(days=HISTORY_DAYS),
        window_days=WINDOW_DAYS,
        at_publication=at_publication,
    )


def actions(found: pd.DataFrame) -> tuple[str, ...]:
    """Return the actions that the source has: those that any post ever had."""
    return tuple(action for action, column in ACTIONS.items() if found[f"{column}_all"].sum())


def feed_version(engine: Engine, cutoff: date) -> str | None:
    """Return the feed's version live at ``cutoff``, whose text encoder knew nothing later."""
    with engine.connect() as connection:
        return champion.live_version(connection, FEED_JOB, cutoff)


def own_encoder(texts: list[str]) -> Tfidf:
    """Return an encoder of these texts, where the feed has none yet."""
    return tfidf.fit(texts)


def picture_axes(
    engine: Engine, as_of: date, encoder_version: str, learned: pd.DataFrame
) -> Axes | None:
    """Return the axes of the pictures of the posts that are learned from; None without one."""
    found = embedding.vectors(engine, as_of, encoder_version)
    found = learned[["post_id", "uri"]].merge(found, on=["post_id", "uri"])
    return fit_axes(np.stack(found["vector"].tolist())) if len(found) else None


def pictures(engine: Engine, as_of: date, encoder_version: str, axes: Axes) -> pd.DataFrame:
    """Return post_id, uri and reduced vector of the pictures that could be read by ``as_of``."""
    found = embedding.vectors(engine, as_of, encoder_version)
    if found.empty:
        return no_pictures()
    reduced = axes.reduced(np.stack(found["vector"].tolist()))
    return found.assign(vector=list(reduced))


def sentence_version() -> str | None:
    """Return what vectors of the configured sentence encoder are kept under; None without one."""
    folder = pretrained.configured()
    return f"sentence-{champion.folder_sha256(folder)[:12]}" if folder else None


def text_vectors(
    engine: Engine,
    found: pd.DataFrame,
    text_version: str | None,
    own: Tfidf | None,
    sentence: str | None,
) -> dict[str, Matrix]:
    """Return what each text encoder makes of the posts' texts, by its name.

    ``neural`` is the encoder of the feed's version, ``svd`` the own one where there is none, and
    ``sentence`` the pretrained one that a setting names (`jobs.feed_recommendation.pretrained`).

    Args:
        engine: the warehouse.
        found: rows of posts.sql.
        text_version: the feed's version; None where there is none.
        own: the own encoder; None where there is none.
        sentence: what `sentence_version` returned at the training.

    Raises:
        BadSetting: if the sentence encoder of the training is not the one configured now.
    """
    found = found[["post_id", "text", "text_md5"]]
    vectors = {}
    if text_version:
        vectors["neural"] = kept.embed(engine, text_version, found)
    elif own is not None:
        vectors["svd"] = own.embed(found["text"].tolist())
    if sentence:
        folder = pretrained.configured()
        if folder is None or sentence != (now := sentence_version()):
            raise BadSetting(
                f"the model reads texts by {sentence}, and {pretrained.SETTING} names "
                f"{now if folder else 'none'}: set it back, or retrain the day; where an older "
                "version serves it, promote the new one: python -m jobs versions post_conversion "
                "lists them"
            )
        vectors["sentence"] = kept.embed_by(
            engine, sentence, found, lambda texts: pretrained.encoded(folder, texts)
        )
    return vectors
