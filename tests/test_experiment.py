"""The split, the impression log and the readout: who was in which arm, what it did to likes."""

import uuid
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256

import numpy as np
import pytest
from scipy import stats
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from jobs import forget
from jobs.experiment import split

NIGHT = date(2026, 3, 2)
DAY = NIGHT - timedelta(days=1)
ARMS, HALVES = ("control", "test"), (0.5, 0.5)


@pytest.fixture
def experiment(warehouse, as_role):
    """Return a function that makes an experiment; what it made is gone afterwards."""
    made = []

    def make(name: str, **columns: object) -> str:
        values = {"name": name, "salt": name, "arms": list(ARMS), "shares": list(HALVES)}
        values |= {"starts_on": date(2026, 1, 1), "ends_on": None, **columns}
        with as_role("migrator").begin() as connection:
            connection.execute(
                text(
                    "insert into experiment.experiment (name, salt, arms, shares, starts_on,"
                    " ends_on, primary_metric) values (:name, :salt, :arms, :shares, :starts_on,"
                    " :ends_on, 'like_rate')"
                ),
                values,
            )
        made.append(name)
        return name

    yield make
    with as_role("migrator").begin() as connection:
        for table in ("frozen", "experiment"):
            connection.execute(
                text(f"delete from experiment.{table} where name = any(:made)"), {"made": made}
            )


def read(engine: Engine, statement: str, **values: object) -> list[tuple]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


def write(engine: Engine, statement: str, **values: object) -> int:
    with engine.begin() as connection:
        return connection.execute(text(statement), values).rowcount


def at(hour: float = 0, day: date = DAY) -> datetime:
    """Return an hour of a day, in UTC."""
    return datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=hour)


# --- the split ---------------------------------------------------------------------------------


def test_the_bucket_is_the_first_eight_hex_digits_of_the_hash():
    by_hand = int(sha256(b"feed-1:42").hexdigest()[:8], 16) / 2**32

    assert split.bucket("feed-1", [42]).tolist() == [by_hand]


def test_sql_and_python_agree_on_a_million_users(warehouse):
    users = np.arange(1_000_000, dtype=np.int64)
    with warehouse.connect() as connection:
        found = connection.execute(
            text(
                "select array_agg(experiment.bucket('feed-1', id) order by id), array_agg("
                "experiment.arm('feed-1', '{control,test,else}', '{.3,.3,.1}', id) order by id)"
                " from generate_series(0, 999999) as id"
            )
        ).one()

    assert (split.bucket("feed-1", users) == np.array(found[0])).all()
    ours = split.arm("feed-1", ("control", "test", "else"), (0.3, 0.3, 0.1), users)
    assert ours.tolist() == found[1]
    assert {None, "control", "test", "else"} == set(found[1])


@pytest.mark.parametrize("salt", ["", "a:b", "back\\slash\\", "соль", "quo'te"])
@pytest.mark.parametrize("user", [0, -7, 2**63 - 1, -(2**63)])
def test_sql_and_python_agree_on_odd_salts_and_ids(warehouse, salt, user):
    found = read(warehouse, "select experiment.bucket(:salt, :user)", salt=salt, user=user)

    assert found == [(split.bucket(salt, [user])[0],)]


def test_the_arms_get_their_shares_and_the_rest_gets_none():
    users = np.arange(200_000)

    arms = split.arm("feed-1", ("control", "test"), (0.7, 0.1), users)

    counts = [(arms == name).sum() for name in ("control", "test", None)]
    assert stats.chisquare(counts, [140_000, 20_000, 40_000]).pvalue > 0.001


def test_experiments_with_salts_of_their_own_are_independent():
    users = np.arange(200_000)

    one, other = (split.arm(salt, ARMS, HALVES, users) == "test" for salt in ("feed-1", "feed-2"))

    both = [
        [(one & other).sum(), (one & ~other).sum()],
        [(~one & other).sum(), (~one & ~other).sum()],
    ]
    assert stats.chi2_contingency(both).pvalue > 0.001


def test_a_user_stays_in_the_arm_whoever_else_there_is():
    users = np.arange(1_000)

    alone = [split.arm("feed-1", ARMS, HALVES, [user])[0] for user in users]

    assert alone == split.arm("feed-1", ARMS, HALVES, users).tolist()
    assert alone == split.arm("feed-1", ARMS, HALVES, users[::-1]).tolist()[::-1]


def test_more_shares_move_only_who_has_to_move():
    users = np.arange(100_000)

    before = split.arm("feed-1", ARMS, (0.5, 0.5), users)
    after = split.arm("feed-1", ARMS, (0.4, 0.6), users)

    moved = before != after
    assert set(before[moved]) == {"control"}
    assert moved.mean() == pytest.approx(0.1, abs=0.01)


def test_a_changed_share_counts_for_days_whose_first_run_comes_later(
    warehouse, as_role, experiment
):
    experiment("trial")
    before = split.frozen(warehouse, "trial", NIGHT)
    change = (
        "update experiment.experiment set shares = '{.1,.9}', salt = 'new' where name = 'trial'"
    )
    write(as_role("migrator"), change)

    assert before == split.Frozen("trial", ARMS, HALVES)
    assert split.frozen(warehouse, "trial", NIGHT) == before
    assert split.frozen(warehouse, "trial", DAY) == split.Frozen("new", ARMS, (0.1, 0.9))


def test_an_experiment_that_does_not_run_has_no_split(warehouse, experiment):
    experiment("over", ends_on=date(2026, 2, 1))

    assert split.frozen(warehouse, "over", date(2026, 2, 1)).salt == "over"
    for name, day in [("over", date(2026, 2, 2)), ("over", date(2025, 12, 31)), ("none", NIGHT)]:
        with pytest.raises(split.NoExperiment, match=f"{name} {day}"):
            split.frozen(warehouse, name, day)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shares": [0.6, 0.6]},
        {"shares": [-0.1, 0.6]},
        {"shares": [0.5]},
        {"shares": [0.0, 0.0]},
        {"shares": [0.5, None]},
        {"arms": ["control"], "shares": [1.0]},
        {"ends_on": date(2025, 1, 1)},
        {"salt": "feed-1"},
    ],
)
def test_an_experiment_that_makes_no_sense_is_refused(experiment, wrong):
    with pytest.raises(DBAPIError, match="violates"):
        experiment("wrong", **wrong)


# --- impressions -------------------------------------------------------------------------------


def shown(given, user: int, posts: list[int], hour: float = 12, **columns: object) -> None:
    """Log one answer to a user."""
    given(
        "experiment.impression",
        **{
            "request_id": uuid.uuid4(),
            "served_at": at(hour),
            "user_id": user,
            "experiment": "feed",
            "arm": "control",
            "as_of": DAY,
            "day_part": 12,
            "model_version": "control-1",
            "list": "user",
            "post_ids": posts,
            "positions": list(range(1, len(posts) + 1)),
            "sources": [1] * len(posts),
            **columns,
        },
    )


def partitions(engine: Engine) -> list[tuple]:
    return read(
        engine,
        "select tableoid::regclass::text, count(*) from experiment.impression"
        " group by 1 order by 1",
    )


def test_days_without_a_partition_lose_no_impression_and_get_one_later(warehouse, given):
    shown(given, 1, [10, 11], hour=23.99)
    shown(given, 1, [12], hour=24)
    assert partitions(warehouse) == [("experiment.impression_default", 2)]

    make = text("select experiment.make_impression_days(:first, :last)")
    with warehouse.begin() as connection:
        made = [
            connection.execute(make, {"first": DAY, "last": DAY + timedelta(days=3)}).scalar_one()
            for _ in range(2)
        ]

    assert made == [4, 0]
    assert partitions(warehouse) == [
        ("experiment.impression_20260301", 1),
        ("experiment.impression_20260302", 1),
    ]


def test_the_same_answer_written_twice_is_one_impression(warehouse, given, as_role):
    shown(given, 1, [10])
    again = (
        "insert into experiment.impression select * from jsonb_populate_record("
        "null::experiment.impression, :row) on conflict do nothing"
    )
    (row,) = read(warehouse, "select to_jsonb(i)::text from experiment.impression as i")

    write(as_role("feed_api"), again, row=row[0])

    assert read(warehouse, "select count(*) from experiment.impression") == [(1,)]


def test_analysts_read_one_row_per_post_shown(given, as_role):
    shown(given, 7, [30, 20], propensities=[0.5, None])

    found = read(
        as_role("bi_reader"),
        "select user_id, arm, list, position, post_id, source, propensity from bi.impression"
        " order by position",
    )

    assert found == [
        (7, "control", "user", 1, 30, 1, 0.5),
        (7, "control", "user", 2, 20, 1, None),
    ]


def test_a_forgotten_user_is_erased_and_not_logged_again(warehouse, given):
    with warehouse.begin() as connection:
        connection.execute(text("select experiment.make_impression_days(:d, :d)"), {"d": DAY})
    for user in (7, 8):
        shown(given, user, [1])
        shown(given, user, [2], hour=99)

    deleted = forget.forget(warehouse, "user", 7)
    shown(given, 7, [3])
    shown(given, 7, [3], hour=99)

    assert deleted == {"experiment.impression": 2}
    assert read(warehouse, "select user_id, count(*) from experiment.impression group by 1") == [
        (8, 2)
    ]


def test_the_service_may_log_impressions_and_nothing_else(given, as_role):
    shown(given, 7, [30])
    service = as_role("feed_api")

    for forbidden in (
        "select * from experiment.impression",
        "delete from experiment.impression",
        "update experiment.impression set arm = 'test'",
        "select * from experiment.experiment",
        "select * from bi.impression",
        "select experiment.make_impression_days('2026-03-01', '2026-03-01')",
        "select experiment.arm('s', '{a,b}', '{.5,.5}', 1)",
        "insert into experiment.impression_default select * from experiment.impression",
        "create table experiment.mine (id int)",
    ):
        with pytest.raises(DBAPIError, match="permission denied"):
            write(service, forbidden)
