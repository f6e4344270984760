"""Versions as they are kept: the files in MLflow, the vectors in feature.post_embedding."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine

from jobs import champion
from jobs.feed_recommendation import model
from jobs.feed_recommendation.model import Fitted
from jobs.feed_recommendation.training import ARMS, JOB
from jobs.warehouse import execute, read_sql


def embed(engine: Engine, version: str, posts: pd.DataFrame) -> NDArray[np.float32]:
    """Return the posts' vectors by a version's encoder; new texts are embedded and kept."""
    return embed_by(
        engine,
        _encoder_version(engine, version),
        posts,
        lambda texts: load(engine, version).encoder.embed(texts),
    )


def embed_by(
    engine: Engine,
    encoder_version: str,
    posts: pd.DataFrame,
    make: Callable[[list[str]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Return the posts' vectors by an encoder; those of new texts are made and kept.

    Args:
        engine: the warehouse.
        encoder_version: what the vectors are kept under.
        posts: post_id, text_md5 and text.
        make: gives a vector for each text.
    """
    known = read_sql(engine, "feed_recommendation/embedded.sql", encoder_version=encoder_version)
    merged = posts[["post_id", "text_md5", "text"]].merge(
        known, how="left", on=["post_id", "text_md5"]
    )
    new = merged[merged["embedding"].isna()]
    if len(new):
        made = make(new["text"].tolist())
        merged.loc[new.index, "embedding"] = pd.Series(list(made), index=new.index)
        with engine.begin() as connection:
            execute(
                connection,
                "feed_recommendation/insert_embeddings.sql",
                encoder_version=encoder_version,
                vectors=json.dumps(
                    [
                        {"post_id": int(post), "text_md5": md5, "vector": vector.tolist()}
                        for post, md5, vector in zip(
                            new["post_id"], new["text_md5"], made, strict=True
                        )
                    ]
                ),
            )
    return np.array(merged["embedding"].tolist(), np.float32)


def load(engine: Engine, version: str) -> Fitted:
    """Return a version; that of a single source is the model beside it in the source's order."""
    folder = champion.load_model(engine, version)
    if not (folder / "order.json").exists():
        return model.load(folder)
    described = json.loads((folder / "order.json").read_text())
    beside = model.load(champion.load_model(engine, described["model_version"]))
    return replace(beside, order=described["order"])


def _encoder_version(engine: Engine, version: str) -> str:
    """Return the version whose files hold the encoder: the model's, for a source beside it."""
    folder = champion.load_model(engine, version)
    if not (folder / "order.json").exists():
        return version
    return str(json.loads((folder / "order.json").read_text())["model_version"])


def arm_of(engine: Engine, version: str, as_of: date) -> str:
    """Return the arm that a version was trained for, if it may serve ``as_of``."""
    with engine.connect() as connection:
        job = champion.described(connection, version)["job"]
    arm = next((arm for arm in ARMS if job == f"{JOB}.{arm}"), ARMS[0])
    champion.require_fit_for(engine, f"{JOB}.{arm}", version, as_of)
    return arm
