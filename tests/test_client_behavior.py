"""The job on a real Postgres and a real MLflow store: nights, reruns, what must change nothing."""

import shutil
from datetime import UTC, date, datetime, timedelta

import behavior_worlds
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow import MlflowClient
from sqlalchemy import Engine, text

from jobs import champion, evaluation
from jobs.calibration import NothingToLearnFrom
from jobs.checks import CheckFailed
from jobs.client_behavior import job, model, pictures, states, tabular, training
from jobs.client_behavior.model import NEXT, OF_HEADS, TASKS, StatesChanged
from jobs.client_behavior.reading import microseconds
from jobs.client_behavior.sequences import DAY_US
from jobs.publish import NothingToPublish, StagedRowsLost
from jobs.settings import BadSetting

NIGHT = date(2026, 3, 1)
DAY = timedelta(days=1)
CLIENTS = 900
VERSION = "client_behavior-2026-03-01-1"
NEXT_VERSION = "client_behavior-2026-03-02-1"
BUSY = 77_000_009
# Every client's steps begin on one of so many days; the last of them act after the night.
FIRST_DAY, SPREAD_DAYS = NIGHT - 280 * DAY, 300
INSERT = """
insert into feature.step_day (client_id, event_day, source, known_from, steps, times)
select client, cast(at at time zone 'UTC' as date), 'client_event',
    cast(at at time zone 'UTC' as date) + 1, array_agg(step order by at, step),
    array_agg(at order by at, step)
from unnest(cast(:client as bigint[]), cast(:step as text[]), cast(:at as timestamptz[]))
    as happened (client, step, at)
group by 1, 2
"""


@pytest.fixture(scope="module")
def steps() -> dict[str, list]:
    """Return what 900 clients did: a second-order chain, and clients differ."""
    drawn = behavior_worlds.draw(1, CLIENTS, events=60, order=2, effects=0.2)
    random = np.random.default_rng(2)
    begin = microseconds(FIRST_DAY) + (random.random(CLIENTS) * SPREAD_DAYS * DAY_US).astype(int)
    lived = drawn.state < len(drawn.states) - 1
    at = drawn.at - drawn.at[drawn.starts[:-1]][drawn.client()] + begin[drawn.client()]
    return {
        "client": drawn.clients[drawn.client()][lived].tolist(),
        "step": [drawn.states[code] for code in drawn.state[lived]],
        "at": [datetime.fromtimestamp(each / 1e6, UTC) for each in at[lived]],
    }


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """Return MLflow's database before anything is logged: making one takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch, empty_store) -> None:
    """Train as little as shows that it works, and keep models in a store of each test's own."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(training, "EPOCHS", 1)
    monkeypatch.setattr(training, "EVENTS", 3_000)
    monkeypatch.setattr(evaluation, "RESAMPLES", 100)
    monkeypatch.setitem(tabular.TREES, "iterations", 15)


@pytest.fixture
def plain(monkeypatch) -> None:
    """No pictures, which take longer than the training."""

    def none(folder, *_) -> list:
        folder.mkdir(parents=True, exist_ok=True)
        return []

    monkeypatch.setattr(pictures, "draw", none)


@pytest.fixture
def shop(warehouse, steps) -> Engine:
    with warehouse.begin() as connection:
        connection.execute(text(INSERT), steps)
        connection.execute(
            text(
                "insert into feature.purchase_day (client_id, event_day, known_from, lines,"
                " quantity, spent, price_sum, min_price, max_price, categories, tied_lines,"
                " tied_channels, tied_campaigns) select client_id, event_day, known_from, 1, 1,"
                " client_id % 97, 1, 1, 1, '{}', 0, '{}', '{}' from feature.step_day"
                " where 'purchase' = any(steps)"
            )
        )
        connection.execute(text("analyze feature.step_day"))
    return warehouse


def read(engine: Engine, statement: str, **values: object) -> list[tuple]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


def checksums(engine: Engine) -> list[tuple]:
    return read(
        engine, "select table_name, as_of, checksum from ops.publication order by publication_id"
    )


def happens(engine: Engine, client: int, step: str, at: str, known_from: date) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into feature.step_day (client_id, event_day, source, known_from, steps,"
                " times) values (:client, cast(cast(:at as timestamptz) at time zone 'UTC' as"
                " date), 'client_event', :known_from, array[:step], array[cast(:at as"
                " timestamptz)])"
            ),
            {"client": client, "step": step, "at": at, "known_from": known_from},
        )


def spends(
    engine: Engine,
    client: int,
    spent: int,
    day: date,
    known_from: date,
    known_to: date | None = None,
) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into feature.purchase_day (client_id, event_day, known_from, known_to,"
                " lines, quantity, spent, price_sum, min_price, max_price, categories, tied_lines,"
                " tied_channels, tied_campaigns) values (:client, :day, :known_from,"
                " coalesce(:known_to, date 'infinity'), 1, 1, :spent, 1, 1, 1, '{}', 0, '{}', '{}')"
            ),
            {"client": client, "spent": spent, "day": day, "known_from": known_from,
             "known_to": known_to},
        )  # fmt: skip


# A night ------------------------------------------------------------------------------------------


def test_a_night_publishes_everybody_who_was_seen(shop, as_role):
    count = job.run(shop, NIGHT, shards=2)

    seen = read(
        shop,
        "select count(distinct client_id) from feature.step_day"
        " where event_day >= :first and event_day < :night",
        first=NIGHT - 180 * DAY, night=NIGHT,
    )  # fmt: skip
    assert [(count,)] == seen
    bi = as_role("bi_reader")
    rows = pd.DataFrame(
        read(
            bi,
            "select client_id, current_state, since, days_in_state, likeliest_next,"
            " likeliest_next_probability, next_states, purchase_probability, churn_probability,"
            " risk_band, value_band, model_version from bi.client_behavior",
        ),
        columns=[
            *("client", "state", "since", "days", "likeliest", "chance", "next", "purchase"),
            *("churn", "risk", "value", "version"),
        ],
    )
    assert len(rows) == count
    assert set(rows["version"]) == {VERSION}
    for chances, likeliest, chance in zip(
        rows["next"], rows["likeliest"], rows["chance"], strict=True
    ):
        assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
        assert chances[likeliest] == pytest.approx(chance) == pytest.approx(max(chances.values()))
    gone = rows["state"] == "churn"
    assert gone.any()
    assert not gone.all()
    assert (rows["churn"].isna() == gone).all()
    assert (rows["risk"] == "gone").tolist() == gone.tolist()
    assert rows["churn"].nunique() > 20
    assert rows["purchase"].nunique() > 20
    assert set(rows["value"]) == {"none", "low", "middle", "high"}
    assert (rows["since"] < pd.Timestamp(NIGHT, tz="UTC") + pd.Timedelta("1us")).all()
    lasted = (pd.Timestamp(NIGHT, tz="UTC") - rows["since"]).dt.total_seconds() / 86400
    assert (np.abs(rows["days"] - lasted) <= 1).all()
    drawn = {path.path for path in artifacts("pictures")}
    assert {f"pictures/{name}.png" for name in (
        "transitions", "graph", "change", "survival", "foretold", "candidates"
    )} == drawn  # fmt: skip


def artifacts(folder: str) -> list:
    client = MlflowClient()
    experiment = client.get_experiment_by_name("client_behavior")
    run = client.search_runs([experiment.experiment_id])[0]
    return client.list_artifacts(run.info.run_id, folder)


@pytest.mark.usefixtures("plain")
def test_every_candidate_is_compared_on_the_same_later_events_and_one_serves(shop):
    job.run(shop, NIGHT)

    table = pd.DataFrame(
        read(
            shop,
            "select task, candidate, share, log_loss, log_loss_low, log_loss_high, roc_auc, rows"
            " from bi.client_behavior_candidates",
        ),
        columns=["task", "candidate", "share", "loss", "low", "high", "roc_auc", "rows"],
    )
    assert set(table["task"]) == set(TASKS)
    for task, rows in table.groupby("task"):
        names = set(NEXT if task == "next" else OF_HEADS) | {"blend"}
        assert set(rows["candidate"]) == names
        parts = rows[rows["candidate"] != "blend"]["share"]
        assert parts.sum() == pytest.approx(1)
        # Exactly one row is what serves: a single candidate, or the blend of several.
        assert (rows["share"] == 1).sum() == 1
        assert rows.set_index("candidate")["share"]["blend"] == (1 if (parts < 1).all() else 0)
        assert rows["rows"].nunique() == 1
        assert (rows["low"] < rows["loss"]).all()
        assert (rows["loss"] < rows["high"]).all()
        assert rows["roc_auc"].isna().all() == (task == "next")
    loss = table[table["task"] == "next"].set_index("candidate")["loss"]
    # The planted chain is of second order.
    assert loss["markov_2"] < loss["markov_1"] < loss["markov_0"]
    silence = read(
        shop, "select count(*), sum(cast(chosen as integer)) from bi.client_behavior_silence"
    )
    assert silence == [(6, 1)]
    decision = read(
        shop, "select decision, to_version from ops.promotion where job = :job", job=job.JOB
    )
    assert decision == [("promote", VERSION)]
    quality = read(
        shop,
        "select name, metric from bi.model_quality where job = :job and stage = 'gate'"
        " order by 1, 2",
        job=job.JOB,
    )
    metrics = ("churn_log_loss", "next_log_loss", "purchase_log_loss")
    names = ("markov_0", "markov_1", "model")
    assert quality == [(name, metric) for name in names for metric in metrics]


@pytest.mark.usefixtures("plain")
def test_transitions_are_published_with_every_segment(shop):
    job.run(shop, NIGHT)
    job.run(shop, NIGHT + DAY)

    rows = pd.DataFrame(
        read(
            shop,
            "select segment, from_state, to_state, transitions, probability, low, high, change,"
            " stationary_share, purchase_before_churn, steps_to_purchase from"
            " bi.behavior_transition",
        ),
        columns=[
            "segment",
            "one",
            "other",
            "count",
            "chance",
            "low",
            "high",
            "change",
            "share",
            "before",
            "steps",
        ],
    )
    assert set(rows["segment"]) == {"all", "buyers", "others"}
    assert np.allclose(rows.groupby(["segment", "one"])["chance"].sum(), 1)
    assert (rows["low"] <= rows["chance"]).all()
    assert (rows["chance"] <= rows["high"]).all()
    bought = rows[rows["other"] == "purchase"].groupby("segment")["count"].sum()
    assert bought["buyers"] == bought["all"] > 0
    assert "others" not in bought
    every = rows[rows["segment"] == "all"]
    assert every["change"].abs().max() > 0
    assert np.allclose(every.groupby("one")["change"].sum(), 0, atol=1e-9)
    first = every.drop_duplicates("one").set_index("one")
    assert first["share"].sum() == pytest.approx(1)
    assert first.loc["purchase", "before"] == 1
    assert first.loc["churn", "before"] == 0
    assert first.drop(["purchase", "churn"])["before"].between(0.1, 0.999).all()
    assert first.drop(["purchase", "churn"])["steps"].between(1, 30).all()
    history = read(shop, "select distinct as_of, change is null from bi.behavior_transition_history"
                         " where segment = 'all' order by 1")  # fmt: skip
    assert history == [(NIGHT, True), (NIGHT + DAY, False)]


def test_bands_and_days_are_those_of_the_day(warehouse):
    at = pd.Timestamp(NIGHT, tz="UTC")
    since = [at - pd.Timedelta(each) for each in ("1us", "1d", "1d 1us", "9d", "0d", "5d", "5d")]
    leaving = [0.33, 0.34, 0.66, 0.67, None, 0.5, 0.5]
    rows = pa.table(
        {
            "client_id": [1, 2, 3, 4, 5, 6, 7],
            "current_state": ["churn" if each is None else "view" for each in leaving],
            "since": pa.array(since, pa.timestamp("us", "UTC")),
            "next_states": [["view"]] * 7,
            "next_probabilities": pa.array([[1.0]] * 7, pa.list_(pa.float32())),
            "purchase_probability": [0.5] * 7,
            "churn_probability": leaving,
        }
    )
    spends(warehouse, 1, 100, NIGHT - DAY, NIGHT)
    spends(warehouse, 2, 20, NIGHT - 365 * DAY, NIGHT)
    spends(warehouse, 2, 30, NIGHT - DAY, NIGHT)
    spends(warehouse, 3, 50, NIGHT - DAY, NIGHT)
    spends(warehouse, 4, 40, NIGHT - DAY, NIGHT)
    spends(warehouse, 5, 30, NIGHT - DAY, NIGHT)
    # What is older, of the day itself, not known yet or taken back counts for nothing.
    spends(warehouse, 6, 999, NIGHT - 366 * DAY, NIGHT - 365 * DAY)
    spends(warehouse, 6, 999, NIGHT, NIGHT)
    spends(warehouse, 6, 999, NIGHT - DAY, NIGHT + DAY)
    spends(warehouse, 7, 999, NIGHT - 2 * DAY, NIGHT - DAY, known_to=NIGHT)

    staged = job.stage(warehouse, job.TABLE, NIGHT, "0of1", job.scores.SHAPE, [rows])
    job.publish_day(warehouse, job.TABLE, NIGHT, [staged], f"{job.JOB}/publish.sql", VERSION)

    told = read(
        warehouse,
        "select client_id, days_in_state, risk_band, value_band from bi.client_behavior order by 1",
    )
    assert told == [
        (1, 1, "low", "high"), (2, 1, "middle", "middle"), (3, 2, "middle", "middle"),
        (4, 9, "high", "low"), (5, 0, "gone", "low"), (6, 5, "middle", "none"),
        (7, 5, "middle", "none"),
    ]  # fmt: skip


# Twice equals once, and point in time -------------------------------------------------------------


@pytest.mark.usefixtures("plain")
def test_a_day_done_again_is_the_same_however_it_is_cut(shop):
    job.run(shop, NIGHT)
    first = checksums(shop)
    assert len(first) == 2

    job.run(shop, NIGHT)
    job.run(shop, NIGHT, shards=3)

    assert checksums(shop) == first
    versions = read(shop, "select count(*) from ops.model_version where kind = 'model'")
    assert versions == [(1,)]


@pytest.mark.usefixtures("plain")
def test_what_comes_later_or_is_known_later_changes_nothing(shop):
    job.run(shop, NIGHT)
    before = dict((table, checksum) for table, _, checksum in checksums(shop))
    client = read(shop, "select client_id from result.client_behavior order by 1 limit 1")[0][0]
    happens(shop, client, "purchase", "2026-03-01 00:00+00", NIGHT + DAY)
    happens(shop, client, "cart", "2026-02-27 12:00+00", NIGHT + DAY)
    happens(shop, 77_000_001, "view", "2026-02-27 12:00+00", NIGHT + DAY)
    happens(shop, 77_000_002, "purchase", "2025-12-27 12:00+00", NIGHT + DAY)

    job.run(shop, NIGHT, retrain=True)

    after = {table: checksum for table, _, checksum in checksums(shop)}
    assert after == before
    assert read(shop, "select count(*) from result.client_behavior where client_id > 77000000") == [
        (0,)
    ]
    tables = {
        version: read(
            shop,
            "select task, candidate, share, held_log_loss, log_loss, rows from"
            " bi.client_behavior_candidates where model_version = :version order by 1, 2",
            version=version,
        )
        for version in (VERSION, VERSION[:-1] + "2")
    }
    assert len(tables[VERSION]) > 20
    assert tables[VERSION] == tables[VERSION[:-1] + "2"]


@pytest.mark.usefixtures("plain")
def test_nothing_that_is_asked_about_was_learned_or_chosen_by(shop):
    job.train(shop, NIGHT)
    with shop.begin() as connection:
        connection.execute(
            text("update feature.step_day set steps = array_replace(steps, 'cart', 'view')"
                 " where event_day >= :cutoff"),
            {"cutoff": NIGHT - 30 * DAY},
        )  # fmt: skip

    other = job._train(shop, NIGHT, job.read_asked(shop, NIGHT))

    one, two = (model.load(champion.load_model(shop, each)) for each in (VERSION, other))
    assert all(map(np.array_equal, one.chain.counts, two.chain.counts))
    assert np.array_equal(one.waits.longer, two.waits.longer)
    assert one.lstm is not None
    assert two.lstm is not None
    assert all(
        (one.lstm.weights[name] == two.lstm.weights[name]).all() for name in one.lstm.weights
    )
    for of in ("silence_days", "serves", "maps", "rates", "before"):
        assert getattr(one, of) == getattr(two, of), of
    assert one.table is not None
    assert two.table is not None
    assert one.table["held_log_loss"].equals(two.table["held_log_loss"])
    assert not one.table["log_loss"].equals(two.table["log_loss"])


def test_what_was_known_late_is_no_part_of_what_is_learned_from(warehouse):
    cutoff = NIGHT - 30 * DAY
    for client, day, known_from in (
        (1, cutoff - DAY, cutoff),
        (2, cutoff - DAY, cutoff + DAY),  # late: neither learned from nor asked about
        (3, cutoff, cutoff + DAY),
        (4, NIGHT - DAY, NIGHT),
        (5, NIGHT - DAY, NIGHT + DAY),
        (6, NIGHT, NIGHT),
        (7, cutoff - 240 * DAY, cutoff),
        (8, cutoff - 241 * DAY, cutoff),
    ):
        happens(warehouse, client, "view", f"{day} 00:00+00", known_from)

    asked = job.read_asked(warehouse, NIGHT)

    assert (asked.cutoff, asked.as_of) == (cutoff, NIGHT)
    assert asked.known.clients.tolist() == [1, 7]
    assert asked.later.clients.tolist() == [3, 4]
    window = job.read_window(warehouse, NIGHT, silence_days=7)
    assert window.clients.tolist() == [1, 2, 3, 4]
    assert [window.states[code] for code in window.ends()] == ["churn"] * 3 + ["view"]


@pytest.mark.usefixtures("plain")
def test_an_event_of_the_day_before_counts(shop):
    job.run(shop, NIGHT)
    happens(shop, 77_000_001, "cart", "2026-02-28 23:59:59+00", NIGHT)

    job.score(shop, NIGHT, VERSION, 0, 1)
    job.publish(shop, NIGHT, VERSION, 1)

    found = read(
        shop,
        "select current_state, days_in_state from result.client_behavior"
        " where client_id > 77000000",
    )
    assert found == [("cart", 1)]


# What goes wrong ----------------------------------------------------------------------------------


def test_nobody_seen_is_nothing_to_learn_from(warehouse):
    with pytest.raises(
        NothingToLearnFrom, match="steps of 0 clients before 2026-01-30, at least 50"
    ):
        job.run(warehouse, NIGHT)


@pytest.mark.usefixtures("plain")
def test_where_nobody_buys_any_more_the_night_goes_on_without_the_figures_of_it(shop):
    with shop.begin() as connection:
        connection.execute(
            text("update feature.step_day set steps = array_replace(steps, 'purchase', 'cart')"
                 " where event_day >= :cutoff"),
            {"cutoff": NIGHT - 30 * DAY},
        )  # fmt: skip

    job.run(shop, NIGHT)

    told = read(shop, "select count(*), count(log_loss), count(roc_auc), count(brier)"
                      " from bi.client_behavior_candidates where task = 'purchase'")  # fmt: skip
    assert told == [(7, 7, 0, 0)]
    assert read(shop, "select count(*) > 300 from bi.client_behavior") == [(True,)]


def test_nothing_that_came_later_is_nothing_to_compare_by(shop):
    with shop.begin() as connection:
        connection.execute(
            text("delete from feature.step_day where event_day >= :cutoff"),
            {"cutoff": NIGHT - 30 * DAY},
        )

    with pytest.raises(
        champion.GateRowsUnfit,
        match="2026-03-01: no step of a client from 2026-01-30 to before 2026-03-01",
    ):
        job.run(shop, NIGHT)


@pytest.mark.usefixtures("plain")
def test_a_night_that_dies_while_training_is_done_again_as_if_it_had_not(shop, monkeypatch):
    register = champion.register

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(champion, "register", dies)
    with pytest.raises(KeyboardInterrupt):
        job.run(shop, NIGHT)
    assert read(shop, "select count(*) from ops.model_version") == [(0,)]
    monkeypatch.setattr(champion, "register", register)

    job.run(shop, NIGHT)

    once = checksums(shop)
    assert [(table, day) for table, day, _ in once] == [
        ("result.client_behavior", NIGHT), ("result.behavior_transition", NIGHT),
    ]  # fmt: skip


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("click=", r"states .*click.*; the steps lead to .*\(click to none and not to click\)"),
        # The states are the same ones, the way to them is not.
        ("close=open", r"\(close to open and not to none\)"),
    ],
)
def test_other_states_than_the_models_are_told(shop, monkeypatch, setting, said):
    job.run(shop, NIGHT)
    monkeypatch.setenv(states.SETTING, setting)

    with pytest.raises(StatesChanged, match=f"the model knows the .*{said}: retrain the day"):
        job.score(shop, NIGHT, VERSION, 0, 1)

    with pytest.raises(StatesChanged, match="retrain the day, or set the states back"):
        job.train(shop, NIGHT)

    # Before the next decision is due, training anew is no way out: the message has one.
    way_out = f"python -m jobs promote client_behavior {NEXT_VERSION} --from 2026-03-02 --reason"
    with pytest.raises(StatesChanged, match=f"{VERSION} serves 2026-03-02 .*wait: .*{way_out}"):
        job.train(shop, NIGHT + DAY)
    assert job.train(shop, NIGHT + DAY, model_version=NEXT_VERSION) == NEXT_VERSION
    champion.promote(shop, job.JOB, NEXT_VERSION, NIGHT + DAY, "on-call", "other states")
    assert job.train(shop, NIGHT + DAY) == NEXT_VERSION


@pytest.mark.usefixtures("plain")
def test_a_champion_of_other_states_gives_way_to_what_beats_the_floor(shop, monkeypatch):
    job.run(shop, NIGHT)
    monkeypatch.setenv(states.SETTING, "click=")
    monkeypatch.setenv(job.WARM_START, "1")

    job.run(shop, NIGHT + 8 * DAY)

    live = read(shop, "select model_version from bi.client_behavior limit 1")
    assert live == [("client_behavior-2026-03-09-1",)]
    # Its network had none of these states to go on from.
    kept = read(shop, "select params ->> 'warm_start' from ops.model_version"
                      " where model_version = 'client_behavior-2026-03-09-1'")  # fmt: skip
    assert kept == [("false",)]


def test_going_on_from_a_network_is_asked_for_or_not(warehouse, monkeypatch):
    monkeypatch.setenv(job.WARM_START, "on")

    with pytest.raises(BadSetting, match=r"WARM_START is 'on'; expected one of 1, true, yes, 0"):
        job._begin(warehouse, NIGHT)


@pytest.mark.usefixtures("plain")
def test_the_network_goes_on_from_the_day_before_where_that_is_asked(shop, monkeypatch):
    job.train(shop, NIGHT)
    monkeypatch.setenv(job.WARM_START, "1")
    begun = []
    fit = training.lstm_training.fit

    def watched(*told):
        begun.append(told[-1])
        return fit(*told)

    monkeypatch.setattr(training.lstm_training, "fit", watched)

    job.train(shop, NIGHT + DAY)
    job.train(shop, NIGHT - DAY)

    known = model.load(champion.load_model(shop, VERSION)).lstm
    assert known is not None
    assert all((begun[0].weights[name] == known.weights[name]).all() for name in known.weights)
    assert begun[1] is None  # nothing was trained for a day before
    before = model.load(champion.load_model(shop, "client_behavior-2026-02-28-1")).lstm
    again = job._begin(shop, NIGHT)  # as when it is trained anew: not from its own
    assert before is not None
    assert again is not None
    assert all((again.weights[name] == before.weights[name]).all() for name in before.weights)
    kept = read(shop, "select as_of, params ->> 'warm_start' from ops.model_version"
                      " where kind = 'model' order by 1")  # fmt: skip
    assert kept == [(NIGHT - DAY, "false"), (NIGHT, "false"), (NIGHT + DAY, "true")]


@pytest.mark.usefixtures("plain")
def test_what_was_published_is_compared_with_what_came(shop, monkeypatch):
    happens(shop, BUSY, "view", "2026-01-20 12:00+00", NIGHT - 39 * DAY)
    happens(shop, BUSY, "purchase", "2026-02-01 12:00+00", NIGHT - 27 * DAY)
    with shop.begin() as connection:
        # Somebody who did so much afterwards that the purchase is not among the newest steps.
        connection.execute(
            text(
                "insert into feature.step_day (client_id, event_day, source, known_from, steps,"
                " times) select :client, '2026-02-03', 'client_event', '2026-02-04',"
                " array_agg(cast('view' as text)),"
                " array_agg(timestamptz '2026-02-03' + n * interval '1 second')"
                " from generate_series(1, 2500) as n"
            ),
            {"client": BUSY},
        )
    job.run(shop, NIGHT - 30 * DAY)
    # What counts as a step now is not what counted then.
    monkeypatch.setenv(states.SETTING, "view=, cart=")

    assert job.mature(shop, NIGHT) == 1

    observed = dict(
        read(
            shop,
            "select metric, value from bi.model_quality where stage = 'matured' and job = :job",
            job=job.JOB,
        )
    )
    bought = read(
        shop,
        "select count(distinct client_id) from feature.step_day where 'purchase' = any(steps)"
        " and event_day >= :first and event_day < :night and client_id in"
        " (select client_id from result.client_behavior)",
        first=NIGHT - 30 * DAY, night=NIGHT,
    )[0][0]  # fmt: skip
    everybody = read(shop, "select count(*) from result.client_behavior")[0][0]
    assert observed["observed_rate"] == pytest.approx(bought / everybody)
    assert observed["roc_auc"] > 0.6
    silence = read(shop, "select days from bi.client_behavior_silence where chosen")[0][0]
    left = read(
        shop,
        "with step as (select client_id, at, lead(at, 1, 'infinity') over"
        " (partition by client_id order by at) as next from feature.step_day"
        " cross join unnest(times) as at where at < :night)"
        " select avg(cast(exists(select from step where step.client_id = stands.client_id"
        " and at + make_interval(days => :silence) between :first and :night"
        " and next > at + make_interval(days => :silence)) as integer))"
        " from result.client_behavior as stands where churn_probability is not null",
        first=datetime.combine(NIGHT - 30 * DAY, datetime.min.time(), UTC),
        night=datetime.combine(NIGHT, datetime.min.time(), UTC),
        silence=silence,
    )[0][0]  # fmt: skip
    assert observed["churn_observed_rate"] == pytest.approx(float(left))
    assert observed["churn_roc_auc"] > 0.6


@pytest.mark.usefixtures("plain")
def test_a_published_day_that_is_gone_is_told(shop):
    job.run(shop, NIGHT - 30 * DAY)
    with shop.begin() as connection:
        connection.execute(text("delete from result.client_behavior"))

    with pytest.raises(champion.NothingToCompare, match="2026-01-30: 0 rows to compare"):
        job.mature(shop, NIGHT)


@pytest.mark.usefixtures("plain")
def test_no_day_is_left_half_of_one_version_and_half_of_another(shop):
    job.run(shop, NIGHT)
    other = job._train(shop, NIGHT, job.read_asked(shop, NIGHT))

    with pytest.raises(StagedRowsLost, match="Score the day first"):
        job.publish(shop, NIGHT, other, 1)
    job.score(shop, NIGHT, VERSION, 0, 1)
    with pytest.raises(StagedRowsLost, match=f"was scored by {VERSION} meanwhile"):
        job.publish(shop, NIGHT, other, 1)
    moved = job._stage_transitions(shop, NIGHT, other)
    with pytest.raises(StagedRowsLost, match=f"was scored by {other} meanwhile"):
        job.publish_day(
            shop, job.TRANSITIONS, NIGHT, [moved], f"{job.JOB}/publish_transitions.sql", VERSION
        )

    for table in ("client_behavior", "behavior_transition"):
        made_by = read(shop, f"select distinct model_version from bi.{table}")
        assert made_by == [(VERSION,)]


@pytest.mark.usefixtures("plain")
def test_a_night_that_dies_between_its_two_tables_publishes_the_other_when_tried_again(
    shop, monkeypatch
):
    version = job.train(shop, NIGHT)
    job.score(shop, NIGHT, version, 0, 1)
    publish_day = job.publish_day

    def dies(engine, table, *told, **more):
        if table == job.TRANSITIONS:
            raise KeyboardInterrupt
        return publish_day(engine, table, *told, **more)

    monkeypatch.setattr(job, "publish_day", dies)
    with pytest.raises(KeyboardInterrupt):
        job.publish(shop, NIGHT, version, 1)
    monkeypatch.setattr(job, "publish_day", publish_day)

    count = job.publish(shop, NIGHT, version, 1)

    assert read(shop, "select count(*) from bi.client_behavior") == [(count,)]
    assert read(shop, "select distinct model_version from bi.behavior_transition") == [(version,)]


@pytest.mark.usefixtures("plain")
def test_a_version_that_foretells_leaving_surely_worse_is_not_promoted(shop, monkeypatch):
    first = job.train(shop, NIGHT - 8 * DAY)
    head_losses = job.comparing.head_losses

    def worse(fitted, asked):
        found = head_losses(fitted, asked)
        return {name: rows.assign(**{VERSION: rows[VERSION] + 0.1}) for name, rows in found.items()}

    monkeypatch.setattr(job.comparing, "head_losses", worse)
    # Of the next state the new version is surely better, since the old one's is made worse.
    losses = job.comparing.losses
    monkeypatch.setattr(
        job.comparing,
        "losses",
        lambda fitted, asked: losses(fitted, asked).assign(
            **{name: losses(fitted, asked)[name] + 0.02 for name in fitted if name == first}
        ),
    )

    assert job.train(shop, NIGHT) == first

    told = read(shop, "select decision, reason from ops.promotion order by promotion_id desc")[0]
    assert told[0] == "keep"
    assert "purchase_log_loss" in told[1]
    assert told[1].endswith(f"over {first} is surely worse")
    figures = read(shop, "select figures from ops.promotion order by promotion_id desc")[0][0]
    assert figures["gain"]["low"] > 0
    assert figures["gain_over_floor"]["low"] > 0


@pytest.mark.usefixtures("plain")
def test_a_chance_that_is_none_is_not_published(shop, monkeypatch):
    version = job.train(shop, NIGHT)
    of_clients = job.scores.of_clients

    def broken(*told):
        table = of_clients(*told)
        return table.set_column(5, "purchase_probability", [[1.0] * len(table)])

    monkeypatch.setattr(job.scores, "of_clients", broken)
    job.score(shop, NIGHT, version, 0, 1)

    with pytest.raises(CheckFailed, match="purchase_probability"):
        job.publish(shop, NIGHT, version, 1)

    assert read(shop, "select count(*) from bi.client_behavior") == [(0,)]
    assert read(shop, "select count(*) from bi.behavior_transition") == [(0,)]


@pytest.mark.usefixtures("plain")
def test_a_day_without_anybody_publishes_nothing(shop):
    version = job.train(shop, NIGHT)
    later = NIGHT + 400 * DAY
    job.score(shop, later, version, 0, 1)

    with pytest.raises((NothingToPublish, CheckFailed)):
        job.publish(shop, later, version, 1)
