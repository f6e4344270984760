"""Client behavior: train, gate, score everybody, publish states and transitions, look back."""

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
from sqlalchemy import Connection, Engine

from jobs import champion, settings
from jobs.champion import Gate, Version
from jobs.checks import validate
from jobs.client_behavior import (
    comparing,
    labels,
    model,
    reading,
    scores,
    silence,
    states,
    training,
    transitions,
)
from jobs.client_behavior.comparing import Asked
from jobs.client_behavior.labels import HORIZON, HORIZON_DAYS
from jobs.client_behavior.lstm import Lstm
from jobs.client_behavior.model import Fitted, StatesChanged
from jobs.client_behavior.reading import WINDOW, microseconds
from jobs.client_behavior.sequences import DAY_US, Sequences, joined, with_churn
from jobs.client_behavior.training import MOMENT_STEPS, Past
from jobs.publish import already_published, stage
from jobs.publish import publish as publish_day
from jobs.warehouse import airflow_run_id, execute_rows, named_failures, only_run, read_sql

JOB = "client_behavior"
TABLE, TRANSITIONS = "result.client_behavior", "result.behavior_transition"
GATE = Gate(
    job=JOB,
    metric="next_log_loss",
    horizon_days=HORIZON_DAYS,
    margin=0.01,
    max_age_days=30,
    cadence_days=7,
    calibration_bound=None,
    unit="client_id",
    floor="markov_0",
    per_row=True,
    higher_is_better=False,
    least_units=training.LEAST_CLIENTS,
)
# Asked for, the network goes on from the weights of the newest training before.
WARM_START = "NIGHTSHIFT_CLIENT_BEHAVIOR_WARM_START"
YES, NO = ("1", "true", "yes"), ("0", "false", "no")

log = logging.getLogger(__name__)


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
    as it is.

    Raises:
        UnknownVersion, VersionNotAllowed: if the named version does not exist, or knows what
            happened after ``as_of``.
        NothingToLearnFrom: if there is nothing to learn from.
        GateRowsUnfit: if there is nothing to compare by.
        StatesChanged: if the day's version, or the one that is to serve it, knows other states than
            a setting asks for.
    """
    with only_run(engine, f"train {JOB}", as_of):
        if model_version:
            champion.require_fit_for(engine, JOB, model_version, as_of)
            return model_version
        with engine.connect() as connection:
            trained = champion.trained_version(connection, JOB, as_of)
        asked = read_asked(engine, as_of)
        _require_later(asked)
        if trained is None or retrain:
            trained = _train(engine, as_of, asked)
        return _decide(engine, as_of, trained, asked, retrain)


def score(engine: Engine, as_of: date, model_version: str, shard: int, shards: int) -> int:
    """Score one hash range of the clients seen before ``as_of`` into its staging table.

    Returns how many there are.

    Raises:
        WarehouseFull, WarehouseUnreachable: what was staged is undone.
    """
    with named_failures(engine, f"score {JOB} {as_of}"):
        fitted = model.load(champion.load_model(engine, model_version))
        found = read_window(engine, as_of, fitted.silence_days, shard, shards)
        model.require_states(fitted, found, states.state_of())
        blocks = (
            [scores.of_clients(fitted, found, microseconds(as_of))] if len(found.clients) else []
        )
        part = _part(shard, shards)
        stage(engine, TABLE, as_of, part, scores.SHAPE, blocks, model_version=model_version)
    return len(found.clients)


def publish(engine: Engine, as_of: date, model_version: str, shards: int) -> int:
    """Check the day's parts and transitions and make them what readers see; return its rows."""
    from jobs.client_behavior import expectations  # Great Expectations takes seconds

    with engine.connect() as connection:
        run_id = champion.described(connection, model_version)["mlflow_run_id"]
    moved = _stage_transitions(engine, as_of, model_version)
    staged = [f"{JOB}_{as_of:%Y%m%d}_{_part(shard, shards)}" for shard in range(shards)]
    done = already_published(engine, TABLE, as_of, staged, model_version)
    if done is None:
        for name in staged:
            validate(engine, "staging", name, expectations.CLIENTS, TABLE, as_of, ("client_id",))
        done = publish_day(
            engine, TABLE, as_of, staged, f"{JOB}/publish.sql", model_version, mlflow_run_id=run_id
        )
    # After the clients, whatever stopped these: no day is left half of one version.
    publish_day(
        engine,
        TRANSITIONS,
        as_of,
        [moved],
        f"{JOB}/publish_transitions.sql",
        model_version,
        mlflow_run_id=run_id,
    )
    return done.rows


def mature(engine: Engine, as_of: date) -> int:
    """Write what happened beside what was published, once a day's horizon is over; count days.

    Kept are the metrics of the chance of a purchase, and those of leaving, whose names begin with
    churn_ (bi.model_quality, stage matured).
    """

    def observed(day: date) -> pd.DataFrame:
        told = read_sql(engine, f"{JOB}/published.sql", published=day)
        if told.empty:
            return told
        fitted = model.load(champion.load_model(engine, told["model_version"].iloc[0]))
        those = fitted.state_of
        before = reading.steps(engine, day - WINDOW, day, as_of, state_of=those)
        # All of it: a purchase counts, however much was done after it.
        after = reading.steps(engine, day, day + HORIZON, as_of, state_of=those, most=None)
        return labels.beside(told, joined(before, after), day, fitted.silence_days)

    return len(champion.mature(engine, JOB, TABLE, as_of, HORIZON_DAYS, observed))


def visualize(engine: Engine, as_of: date, out: Path) -> list[Path]:
    """Redraw every picture of the version live on ``as_of`` into ``out``; return the files.

    Raises:
        NoLiveVersion: if no version was live on that day.
    """
    from jobs.client_behavior import pictures

    with engine.connect() as connection:
        live = champion.live_version(connection, JOB, as_of)
        if live is None:
            raise champion.NoLiveVersion(
                f"{JOB} {as_of}: no version was live; python -m jobs versions {JOB} lists them"
            )
        trained_for = champion.described(connection, live)["as_of"]
    fitted = model.load(champion.load_model(engine, live))
    asked = read_asked(engine, trained_for, fitted.silence_days, fitted.state_of)
    return pictures.draw(out, live, fitted, asked)


def read_window(
    engine: Engine, as_of: date, silence_days: int, shard: int = 0, shards: int = 1
) -> Sequences:
    """Return what clients did in the window before ``as_of`` and known by then, churn among it."""
    found = reading.steps(engine, as_of - WINDOW, as_of, as_of, shard, shards)
    return with_churn(found, silence_days * DAY_US, microseconds(as_of))


def read_asked(
    engine: Engine,
    as_of: date,
    silence_days: int | None = None,
    state_of: Mapping[str, str] | None = None,
) -> Asked:
    """Return what the gate asks on ``as_of``: what clients did before its cutoff, and what came.

    What is known of the time before the cutoff is what was known then; what came is what is known
    now. The days of silence are chosen from the time before, unless they are given; the states are
    those that are set, unless they are.
    """
    cutoff = as_of - HORIZON
    first = cutoff - WINDOW - timedelta(days=max(MOMENT_STEPS)) - HORIZON
    known = reading.steps(engine, first, cutoff, cutoff, state_of=state_of)
    told = silence.came_back(known, microseconds(cutoff))
    days = silence_days or silence.chosen(told)
    later = reading.steps(engine, cutoff, as_of, as_of, state_of=state_of)
    return Asked(known, later, cutoff, as_of, days, told, state_of or states.state_of())


def _require_later(asked: Asked) -> None:
    """Raise where nobody did anything that the gate could ask about.

    Raises:
        GateRowsUnfit: naming the days and what to look at.
    """
    if len(asked.known.state) and not len(asked.later.state):
        raise champion.GateRowsUnfit(
            f"{JOB} {asked.as_of}: no step of a client from {asked.cutoff} to before "
            f"{asked.as_of}; are these days loaded, and does {states.SETTING} leave any step? The "
            "newest published day goes on serving"
        )


def _train(engine: Engine, as_of: date, asked: Asked) -> str:
    """Fit the candidates for ``as_of``, log and register what serves; return the new version."""
    cutoff = asked.cutoff
    past = Past(asked.before(), cutoff, asked.silence_days)
    begin = _begin(engine, as_of)
    with engine.connect() as connection:
        version = champion.next_version(connection, JOB, as_of)
    with (
        champion.training_run(version, JOB, as_of) as run_id,
        tempfile.TemporaryDirectory() as temporary,
    ):
        trained = training.fit_all(past, begin)
        names = {
            version if name == "model" else champion.baseline_version(version, name): name
            for name in trained.fitted
        }
        table = comparing.table(trained, asked)
        candidates = {each: trained.fitted[name] for each, name in names.items()}
        losses = comparing.losses(candidates, asked)
        measured = _measured(losses, comparing.head_losses(candidates, asked), names)
        fitted = {
            name: training.served(
                replace(
                    one,
                    state_of=states.state_of(),
                    table=table if name == "model" else None,
                )
            )
            for name, one in trained.fitted.items()
        }
        drawn = Path(temporary) / "pictures"
        from jobs.client_behavior import pictures

        pictures.draw(drawn, version, fitted["model"], asked)
        counts = {
            "train": len(past.found.state),
            "validation": int(trained.selection["held_rows"].max()),
            "calibration": int(trained.selection["held_rows"].min()),
            "gate": len(losses),
        }
        window = {
            "train_from": cutoff - WINDOW - timedelta(days=max(MOMENT_STEPS)) - HORIZON,
            "train_to": cutoff,
            "gate_cutoff": cutoff,
        }
        kept = {"silence_days": past.silence_days, "warm_start": begin is not None}
        champion.log(
            run_id,
            {
                **kept,
                **{
                    f"serves_{task}": str(dict(share))
                    for task, share in fitted["model"].serves.items()
                },
                **window,
                **{f"rows_{name}": count for name, count in counts.items()},
                "states": ", ".join(past.found.states),
                "as_of": as_of,
            },
            measured,
            drawn,
        )
        folders: dict[Path, Version] = {}
        for each, name in names.items():
            folder = Path(temporary) / name
            model.save(fitted[name], folder)
            folders[folder] = Version(
                model_version=each,
                job=JOB,
                as_of=as_of,
                kind="model" if name == "model" else "baseline",
                name=fitted[name].name,
                rows=counts,
                params=kept,
                metrics=dict(
                    measured[measured["model_version"] == each][["metric", "value"]].to_numpy()
                ),
                **window,
            )

        def record(connection: Connection) -> None:
            champion.record_evaluation(connection, JOB, as_of, "gate", measured)
            of = {"model_version": version, "as_of": as_of}
            execute_rows(connection, f"{JOB}/insert_candidate.sql", table, **of)
            seen = asked.came_back
            seen = seen.assign(chosen=seen["days"] == past.silence_days)
            execute_rows(connection, f"{JOB}/insert_silence.sql", seen, **of)

        champion.register(engine, run_id, folders, record)
    return version


def _decide(engine: Engine, as_of: date, trained: str, asked: Asked, retrained: bool) -> str:
    """Put the day's version before the gate; return the version that serves."""
    with engine.connect() as connection:
        compared = [trained, *champion.baselines_beside(connection, trained)]
        live = champion.live_version(connection, JOB, as_of)
    wanted = list(dict.fromkeys([*compared, *([live] if live else [])]))
    # From the registered files: what is tested is what serves.
    fitted = {each: model.load(champion.load_model(engine, each)) for each in wanted}
    model.require_states(fitted[trained], asked.known, asked.state_of)
    losses, guards = comparing.losses(fitted, asked), comparing.head_losses(fitted, asked)
    if live and live not in compared:
        measured = _measured(losses, guards, {live: "champion"})
        with engine.begin() as connection:
            champion.record_evaluation(connection, JOB, as_of, "gate", measured)
    actor = f"airflow {airflow_run_id()}" if airflow_run_id() else f"run of {as_of}"
    decision = champion.decide(
        engine, GATE, as_of, losses, trained, actor, retrained, guards=guards
    )
    champion.sync_alias(engine, JOB)
    serving = fitted.get(decision.version)
    if serving and not model.knows(serving, asked.known.states, asked.state_of):
        raise StatesChanged(
            f"{decision.version} serves {as_of} ({decision.decision}: {decision.reason}) and knows "
            f"the states {', '.join(serving.states)}; the steps lead to "
            f"{', '.join(asked.known.states)}{model.moved(serving, asked.state_of)}. "
            f"Set {states.SETTING} back; or serve them: python -m jobs promote {JOB} {trained} "
            f"--from {as_of} --reason ..., then run the day again (this day alone: run it with "
            f"model_version {trained})"
        )
    return decision.version


def _measured(
    losses: pd.DataFrame, guards: Mapping[str, pd.DataFrame], names: Mapping[str, str]
) -> pd.DataFrame:
    """Return each version's log-loss on the gate's rows: of the next state and of each head."""
    found = [champion.measure(GATE, losses, names)]
    found += [
        champion.measure(replace(GATE, metric=metric), rows, names)
        for metric, rows in guards.items()
    ]
    return pd.concat(found, ignore_index=True)


def _begin(engine: Engine, as_of: date) -> Lstm | None:
    """Return the network to go on from, if that is asked for: the newest of a day before.

    One that knows other states than a setting asks for is none to go on from: a new one begins.

    Raises:
        BadSetting: if it is neither asked for nor not.
    """
    asked = settings.setting(WARM_START, "0").strip().lower()
    if asked not in (*YES, *NO):
        raise settings.BadSetting(
            f"{WARM_START} is {asked!r}; expected one of {', '.join((*YES, *NO))}"
        )
    if asked in NO:
        return None
    found = read_sql(engine, f"{JOB}/newest_before.sql", as_of=as_of)
    for version in found["model_version"]:
        fitted: Fitted = model.load(champion.load_model(engine, version))
        if model.knows(fitted, states.names(states.state_of()), states.state_of()):
            return fitted.lstm
        log.info("%s knows other states than are set: the network begins anew", version)
    return None


def _stage_transitions(engine: Engine, as_of: date, model_version: str) -> str:
    """Stage and check how clients moved in the window before ``as_of``; return the table's name."""
    from jobs.client_behavior import expectations

    silence_days = model.load(champion.load_model(engine, model_version)).silence_days
    found = read_window(engine, as_of, silence_days)
    rows = transitions.of_day(found, silence_days * DAY_US, microseconds(as_of))
    staged = stage(
        engine,
        TRANSITIONS,
        as_of,
        "rows",
        transitions.SHAPE,
        [rows],
        model_version=model_version,
    )
    key = ("segment", "from_state", "to_state")
    validate(engine, "staging", staged, expectations.TRANSITIONS, TRANSITIONS, as_of, key)
    return staged


def _part(shard: int, shards: int) -> str:
    return f"{shard}of{shards}"
