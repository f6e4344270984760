"""Post conversion: embed pictures, train, gate, score every post, publish, look back."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
from sqlalchemy import Connection, Engine

from jobs import champion
from jobs.champion import Gate, Version
from jobs.checks import validate
from jobs.feed_recommendation import encoders
from jobs.feed_recommendation.tfidf import Tfidf
from jobs.post_conversion import (
    embedding,
    experiments,
    image_encoders,
    model,
    observed,
    reading,
    rows,
    scores,
    slices,
    training,
)
from jobs.post_conversion.image_encoders import ImageEncoder
from jobs.post_conversion.model import GLOBAL, TOPIC, Fitted
from jobs.post_conversion.rows import WINDOW_DAYS, Rows
from jobs.publish import already_published, stage
from jobs.publish import publish as publish_day
from jobs.warehouse import airflow_run_id, execute_rows, named_failures, only_run, read_sql

JOB = "post_conversion"
TABLE = "result.post_conversion"
# Posts that were published earlier are not scored: hardly anybody views them.
SCORED_DAYS = 180
# So many posts are scored at a time.
BLOCK = 20_000
GATE = Gate(
    job=JOB,
    metric="view_log_loss",
    horizon_days=WINDOW_DAYS,
    margin=0.001,
    max_age_days=30,
    cadence_days=7,
    calibration_bound=None,
    unit="post_id",
    floor=GLOBAL.model,
    per_row=True,
    higher_is_better=False,
    least_units=20,
)
PICTURES, TEXTS = "picture_encoder", "text_encoder"


def run(
    engine: Engine,
    as_of: date,
    retrain: bool = False,
    model_version: str | None = None,
    shards: int = 1,
) -> int:
    """Do a whole night for ``as_of``: train, gate, score, publish, look back; return the rows.

    Raises:
        AlreadyRunning: if another process works on the same day.
    """
    with only_run(engine, f"run {JOB}", as_of):
        version = train(engine, as_of, retrain, model_version)
        for shard in range(shards):
            score(engine, as_of, version, shard, shards)
        published = publish(engine, as_of, version, shards)
        mature(engine, as_of)
    return published


def train(
    engine: Engine, as_of: date, retrain: bool = False, model_version: str | None = None
) -> str:
    """Return the version that serves ``as_of``: train one for that day, and ask the gate.

    A day that has a version keeps it, unless ``retrain``. A ``model_version`` that is named is used
    as it is. Pictures that are new are embedded by the version's own encoder.

    Raises:
        UnknownVersion, VersionNotAllowed: if the named version does not exist, or knows what
            happened after ``as_of``.
        NothingToLearnFrom: if there are too few posts, or none was acted on.
        BadSetting: if a setting of an encoder is none.
    """
    with only_run(engine, f"train {JOB}", as_of):
        if model_version:
            champion.require_fit_for(engine, JOB, model_version, as_of)
            version = model_version
        else:
            with engine.connect() as connection:
                trained = champion.trained_version(connection, JOB, as_of)
            found = reading.posts(engine, as_of, at_publication=True)
            if trained is None or retrain:
                trained = _train(engine, as_of, found)
            version = _decide(engine, as_of, trained, found, retrain)
        _embed(engine, as_of, _load(engine, version))
    return version


def score(engine: Engine, as_of: date, model_version: str, shard: int, shards: int) -> int:
    """Score a part of the posts of SCORED_DAYS before ``as_of`` into its staging table.

    Their pictures were embedded by `train`, once for all parts; what is gone since, or came since,
    is made here. Returns how many posts there are.

    Raises:
        WarehouseFull, WarehouseUnreachable: what was staged is undone.
    """
    with named_failures(engine, f"score {JOB} {as_of}"):
        used = _load(engine, model_version)
        _embed(engine, as_of, used)
        found = reading.posts(engine, as_of, at_publication=False)
        # As at the training: a topic's past does not change with a post that was deleted since.
        past = reading.posts(engine, as_of, at_publication=True)
        begin = pd.Timestamp(as_of - timedelta(days=SCORED_DAYS))
        recent = pd.to_datetime(found["published_day"]) >= begin
        part = found[recent & (found["post_id"] % shards == shard)]
        blocks = (
            scores.of_posts(
                used.fitted, _rows(engine, as_of, used, part.iloc[first : first + BLOCK], past)
            )
            for first in range(0, len(part), BLOCK)
        )
        name = _part(shard, shards)
        stage(engine, TABLE, as_of, name, scores.SHAPE, blocks, model_version=model_version)
    return len(part)


def publish(engine: Engine, as_of: date, model_version: str, shards: int) -> int:
    """Check the scored parts and make them the day that readers see; return its rows."""
    from jobs.post_conversion import expectations  # Great Expectations takes seconds

    staged = [f"{JOB}_{as_of:%Y%m%d}_{_part(shard, shards)}" for shard in range(shards)]
    if done := already_published(engine, TABLE, as_of, staged, model_version):
        return done.rows
    for name in staged:
        key = ("post_id", "action")
        validate(engine, "staging", name, expectations.POSTS, TABLE, as_of, key)
    with engine.connect() as connection:
        run_id = champion.described(connection, model_version)["mlflow_run_id"]
    return publish_day(
        engine, TABLE, as_of, staged, f"{JOB}/publish.sql", model_version, mlflow_run_id=run_id
    ).rows


def mature(engine: Engine, as_of: date) -> int:
    """Write what happened beside what was published, once windows are over; count days.

    A published day is compared on the posts of the week before it (bi.model_quality, stage
    matured).
    """

    def came(day: date) -> pd.DataFrame:
        return read_sql(
            engine,
            f"{JOB}/observed.sql",
            published=day,
            window_days=WINDOW_DAYS,
            known_by=as_of,
        )

    days = champion.mature(engine, JOB, TABLE, as_of, WINDOW_DAYS, came, observed.figures)
    return len(days)


def visualize(engine: Engine, as_of: date, out: Path) -> list[Path]:
    """Redraw every picture of the version live on ``as_of`` into ``out``; return the files.

    Raises:
        NoLiveVersion: if no version was live on that day.
    """
    from jobs.post_conversion import pictures

    with engine.connect() as connection:
        live = champion.live_version(connection, JOB, as_of)
        if live is None:
            raise champion.NoLiveVersion(
                f"{JOB} {as_of}: no version was live; python -m jobs versions {JOB} lists them"
            )
        trained_for = champion.described(connection, live)["as_of"]
    used = _load(engine, live)
    found = reading.posts(engine, trained_for, at_publication=True)
    asked = _rows(engine, trained_for, used, slices.gate_posts(found, trained_for), found)
    table = read_sql(engine, f"{JOB}/experiments.sql", model_version=live)
    return pictures.draw(out, live, used.fitted, asked, table)


@dataclass(frozen=True)
class Used:
    """A version and the encoders that it is asked with.

    Attributes:
        fitted: the model.
        texts: its own text encoder; None where it reads the feed's.
        pictures: the picture encoder; None where it reads no picture.
    """

    fitted: Fitted
    texts: Tfidf | None
    pictures: ImageEncoder | None


def _train(engine: Engine, as_of: date, found: pd.DataFrame) -> str:
    """Fit the candidates for ``as_of``, log and register what serves; return the new version."""
    from jobs.post_conversion import pictures

    cutoff = slices.gate_begin(as_of)
    encoder = image_encoders.configured() if found["uri"].notna().any() else None
    if encoder is not None:
        embedding.embed_new(engine, as_of, encoder)
    text_version = reading.feed_version(engine, cutoff)
    learned, asked = slices.learning_posts(found, as_of), slices.gate_posts(found, as_of)
    own = None if text_version else reading.own_encoder(learned["text"].tolist())
    encoded = encoder.version if encoder is not None else None
    blank = Fitted(
        "", reading.actions(learned), {}, {}, {}, {},
        text_version=text_version,
        sentence_version=reading.sentence_version(),
        picture_version=encoded,
        axes=reading.picture_axes(engine, as_of, encoded, learned) if encoded else None,
    )  # fmt: skip
    used = Used(blank, own, encoder)
    with engine.connect() as connection:
        version = champion.next_version(connection, JOB, as_of)
    with (
        champion.training_run(version, JOB, as_of) as run_id,
        tempfile.TemporaryDirectory() as temporary,
    ):
        trained = training.fit_all(_rows(engine, as_of, used, learned, found))
        gate_rows = _rows(engine, as_of, used, asked, found)
        serves = {action: trained.best(action) for action in trained.actions}
        fitted = {
            version: trained.serving(serves),
            **{
                champion.baseline_version(version, each.model): trained.serving(
                    dict.fromkeys(trained.actions, each)
                )
                for each in (GLOBAL, TOPIC)
            },
        }
        fitted = {
            each: replace(
                one,
                text_version=blank.text_version,
                sentence_version=blank.sentence_version,
                picture_version=blank.picture_version,
                axes=blank.axes,
            )
            for each, one in fitted.items()
        }
        names = dict(zip(fitted, ("model", GLOBAL.model, TOPIC.model), strict=True))
        measured = _measured(experiments.losses(fitted, gate_rows), names)
        table = experiments.table(trained, serves, gate_rows)
        drawn = Path(temporary) / "pictures"
        pictures.draw(drawn, version, fitted[version], gate_rows, table)
        counts = {
            "train": len(learned),
            "gate": len(asked),
            "with_pictures": int(gate_rows.has_picture.sum()),
        }
        window = {
            "train_from": as_of - timedelta(days=reading.HISTORY_DAYS),
            "train_to": cutoff,
            "gate_cutoff": cutoff,
        }
        params = {
            "text_version": text_version,
            "sentence_version": blank.sentence_version,
            "picture_version": encoded,
            **{f"serves_{action}": str(each) for action, each in serves.items()},
        }
        champion.log(
            run_id,
            {**params, **window, **{f"rows_{k}": n for k, n in counts.items()}, "as_of": as_of},
            measured,
            drawn,
        )
        folders: dict[Path, Version] = {}
        for each, name in names.items():
            folder = Path(temporary) / name
            model.save(fitted[each], folder)
            if name == "model":
                _save_encoders(used, folder)
            folders[folder] = Version(
                model_version=each,
                job=JOB,
                as_of=as_of,
                kind="model" if name == "model" else "baseline",
                name=fitted[each].name,
                rows=counts,
                params=params,
                metrics=dict(
                    measured[measured["model_version"] == each][["metric", "value"]].to_numpy()
                ),
                **window,
            )

        def record(connection: Connection) -> None:
            champion.record_evaluation(connection, JOB, as_of, "gate", measured)
            of = {"model_version": version, "as_of": as_of}
            execute_rows(connection, f"{JOB}/insert_experiment.sql", table, **of)

        champion.register(engine, run_id, folders, record)
    return version


def _embed(engine: Engine, as_of: date, used: Used) -> None:
    """Embed the pictures that the version's encoder has not embedded yet."""
    if used.pictures is not None:
        embedding.embed_new(engine, as_of, used.pictures)


def _decide(engine: Engine, as_of: date, trained: str, found: pd.DataFrame, retrained: bool) -> str:
    """Put the day's version before the gate; return the version that serves."""
    with engine.connect() as connection:
        compared = [trained, *champion.baselines_beside(connection, trained)]
        live = champion.live_version(connection, JOB, as_of)
    wanted = list(dict.fromkeys([*compared, *([live] if live else [])]))
    asked = slices.gate_posts(found, as_of)
    # From the registered files: what is tested is what serves. Asked about is what the source does
    # now, by the version that was trained on it: actions begin and end.
    losses: dict[str, pd.DataFrame] = {}
    actions: tuple[str, ...] = ()
    for each in wanted:
        used = _load(engine, each)
        actions = actions or used.fitted.actions
        rows_of = _rows(engine, as_of, used, asked, found)
        own = experiments.losses({each: used.fitted}, rows_of, actions)
        for name, frame in own.items():
            losses[name] = frame.merge(losses[name], on="post_id") if name in losses else frame
    if live and live not in compared:
        measured = _measured(losses, {live: "champion"})
        with engine.begin() as connection:
            champion.record_evaluation(connection, JOB, as_of, "gate", measured)
    actor = f"airflow {airflow_run_id()}" if airflow_run_id() else f"run of {as_of}"
    guards = {f"{name}_log_loss": frame for name, frame in losses.items() if name != "all"}
    decision = champion.decide(
        engine, GATE, as_of, losses["all"], trained, actor, retrained, guards=guards
    )
    champion.sync_alias(engine, JOB)
    return decision.version


def _measured(losses: Mapping[str, pd.DataFrame], names: Mapping[str, str]) -> pd.DataFrame:
    """Return each version's log-loss of a view on the gate's posts: of all actions, and of each."""
    found = [
        champion.measure(
            GATE if name == "all" else replace(GATE, metric=f"{name}_log_loss"), frame, names
        )
        for name, frame in losses.items()
    ]
    return pd.concat(found, ignore_index=True)


def _rows(
    engine: Engine, as_of: date, used: Used, part: pd.DataFrame, history: pd.DataFrame
) -> Rows:
    """Return posts as a version reads them.

    Args:
        engine: the warehouse.
        as_of: day whose pictures are known.
        used: the version.
        part: the posts.
        history: rows of posts.sql that topics' past rates are counted from.
    """
    fitted = used.fitted
    vectors = reading.text_vectors(
        engine, part, fitted.text_version, used.texts, fitted.sentence_version
    )
    pictures, width = rows.no_pictures(), 0
    if fitted.picture_version and fitted.axes:
        pictures = reading.pictures(engine, as_of, fitted.picture_version, fitted.axes)
        width = fitted.axes.width
    return rows.build(part, fitted.actions, vectors, pictures, history, width)


def _save_encoders(used: Used, folder: Path) -> None:
    """Ship the encoders with the model: they embed what it is asked about."""
    if used.texts is not None:
        (folder / TEXTS).mkdir()
        encoders.save(used.texts, folder / TEXTS)
    if used.pictures is not None:
        (folder / PICTURES).mkdir()
        image_encoders.save(used.pictures, folder / PICTURES)


def _load(engine: Engine, version: str) -> Used:
    """Return a version with its encoders; a baseline, which reads neither, without."""
    folder = champion.load_model(engine, version)
    fitted = model.load(folder)
    texts = encoders.load(folder / TEXTS) if (folder / TEXTS).is_dir() else None
    assert texts is None or isinstance(texts, Tfidf)
    drawn = image_encoders.load(folder / PICTURES) if (folder / PICTURES).is_dir() else None
    if drawn is None:
        fitted = replace(fitted, picture_version=None, axes=None)
    if not any(each.text == "neural" for each in fitted.models):
        fitted = replace(fitted, text_version=None)
    if not any(each.text == "sentence" for each in fitted.models):
        fitted = replace(fitted, sentence_version=None)
    return Used(fitted, texts, drawn)


def _part(shard: int, shards: int) -> str:
    return f"{shard}of{shards}"
