"""The split, the impression log and the readout: who was in which arm, what it did to likes."""

import os
import uuid
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import airflow_home
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from statsmodels.stats.proportion import test_proportions_2indep as two_shares

from jobs import forget
from jobs.checks import CheckFailed
from jobs.experiment import impressions, job, readout, split
from jobs.publish import NothingToPublish

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


# --- the statistics ----------------------------------------------------------------------------


def rate(y: list[float], x: list[float]) -> readout.Rate:
    """Return sum(y) / sum(x), one element a user."""
    ys, xs = np.array(y, dtype=float), np.array(x, dtype=float)
    return readout.rate(len(ys), ys.sum(), xs.sum(), (ys**2).sum(), (xs**2).sum(), (xs * ys).sum())


def test_a_rate_worked_out_by_hand():
    # Users liked 1 of 2, 0 of 3, 3 of 5: r = 4/10. Residuals y - r x: .2, -1.2, 1; squares .04,
    # 1.44, 1, in sum 2.48. Variance 3/2 * 2.48 / 100 = .0372.
    found = rate([1, 0, 3], [2, 3, 5])

    assert found.value == pytest.approx(0.4)
    assert found.variance == pytest.approx(0.0372)
    low, high = readout.interval(found)
    assert low == pytest.approx(0.4 - 1.959964 * 0.0372**0.5, abs=1e-6)
    assert high == pytest.approx(0.4 + 1.959964 * 0.0372**0.5, abs=1e-6)


def test_a_share_of_users_has_the_variance_of_a_proportion():
    found = rate([1] * 30 + [0] * 70, [1] * 100)

    assert found == pytest.approx((0.3, 0.3 * 0.7 / 99))


def test_a_difference_worked_out_by_hand():
    # .35 - .30 = .05; variances .35*.65/999 + .30*.70/999 = .000437938; error .0209270;
    # z = 2.38926; p = .01688; half .0410162.
    found = readout.difference(
        rate([1] * 350 + [0] * 650, [1] * 1000), rate([1] * 300 + [0] * 700, [1] * 1000)
    )

    assert found == pytest.approx((0.05, 0.0089838, 0.0910162, 0.01688), abs=1e-5)


def test_what_does_not_vary_has_no_interval():
    nothing = rate([0, 0, 0], [4, 5, 6])

    assert nothing.value == 0
    assert np.isnan(readout.interval(nothing)).all()
    assert np.isnan(readout.difference(nothing, nothing).p_value)
    assert np.isnan(rate([0], [0]).value)


def test_a_thousand_against_twelve_hundred_users_at_an_even_split():
    p = readout.sample_ratio(pd.Series([1000, 1200]), pd.Series([1100.0, 1100.0]))

    assert round(p, 5) == 0.00002
    assert p < readout.SAMPLE_RATIO_ALARM


def test_users_in_an_arm_that_gets_none_are_an_alarm():
    assert readout.sample_ratio(pd.Series([10, 10, 1]), pd.Series([10.5, 10.5, 0.0])) == 0


def users(rng: np.random.Generator, number: int, lift: float = 0.0) -> np.ndarray:
    """Return likes and views of users: some view a lot, and each has a rate of their own."""
    views = 1 + rng.poisson(rng.gamma(1.0, 8.0, number))
    likes = rng.binomial(views, np.clip(rng.beta(1.5, 10, number) + lift, 0, 1))
    return np.stack([likes, views])


def test_a_thousand_a_a_splits_reject_one_in_twenty():
    likes, views = users(np.random.default_rng(1), 2_000)
    ids = np.arange(2_000)

    rejected = 0
    for salt in range(1_000):
        test = split.bucket(f"a/a {salt}", ids) < 0.5
        arms = [rate(likes[which], views[which]) for which in (test, ~test)]
        rejected += readout.difference(*arms).p_value < 0.05

    # 5 % of 1,000 and three standard deviations of a binomial either way.
    assert abs(rejected - 50) <= 3 * (1_000 * 0.05 * 0.95) ** 0.5


def test_views_counted_as_if_they_were_users_would_reject_far_too_often():
    likes, views = users(np.random.default_rng(1), 2_000)
    ids = np.arange(2_000)

    rejected = 0
    for salt in range(200):
        test = split.bucket(f"a/a {salt}", ids) < 0.5
        counts = [(likes[which].sum(), views[which].sum()) for which in (test, ~test)]
        shares = [readout.Rate(y / x, y / x * (1 - y / x) / x) for y, x in counts]
        rejected += readout.difference(*shares).p_value < 0.05

    assert rejected > 20, "one in ten or more, where one in twenty was promised"


def test_a_planted_effect_is_found_and_lies_in_its_interval_nineteen_times_in_twenty():
    rng = np.random.default_rng(2)
    everybody, lifted = users(rng, 400_000), users(rng, 400_000, lift=0.03)
    truth = lifted[0].sum() / lifted[1].sum() - everybody[0].sum() / everybody[1].sum()

    found = []
    for begin in range(0, 400_000, 2_000):
        part = slice(begin, begin + 2_000)
        found.append(readout.difference(rate(*lifted[:, part]), rate(*everybody[:, part])))

    held = sum(one.low <= truth <= one.high for one in found)
    assert abs(held - 190) <= 3 * (200 * 0.05 * 0.95) ** 0.5
    assert sum(one.low > 0 for one in found) >= 198


# --- the readout -------------------------------------------------------------------------------


def event(given, user: int, post: int, action: str, hour: float, **columns: object) -> None:
    """Give one event of the feed, known with its day unless ``columns`` say else."""
    happened = at(hour)
    day = happened.date()
    given(
        "raw.feed_data",
        **{
            "timestamp": happened,
            "user_id": user,
            "post_id": post,
            "action": action,
            "copies": 1,
            "event_day": day,
            "known_from": day + timedelta(days=1),
            **columns,
        },
    )


def counted(engine: Engine) -> dict[int, tuple]:
    """Return impressions, hits, views and likes of each user on DAY."""
    found = read(
        engine,
        "select user_id, impressions, hits, views, likes from experiment.user_day"
        " where as_of = :night",
        night=NIGHT,
    )
    return {row[0]: row[1:] for row in found}


def test_a_day_worked_out_by_hand(warehouse, given, as_role):
    shown(given, 1, [10, 11, 12], hour=8)
    shown(given, 1, [13, 14], hour=9)
    shown(given, 2, [10, 11], hour=8)
    shown(given, 3, [10], hour=8, arm="test")
    shown(given, 4, [10], hour=8, arm="test")
    for user, post, action, hour in [
        (1, 10, "view", 8.1), (1, 10, "like", 8.2), (1, 11, "view", 8.2), (1, 13, "view", 9.1),
        (2, 10, "view", 8.1),
        (3, 10, "view", 8.1), (3, 10, "like", 8.1), (3, 10, "share", 8.2), (3, 99, "like", 8.2),
    ]:  # fmt: skip
        event(given, user, post, action, hour)

    job.read_out(warehouse, NIGHT)

    assert counted(warehouse) == {
        1: (2, 1, 3, 1), 2: (1, 0, 1, 0), 3: (1, 1, 1, 1), 4: (1, 0, 0, 0),
    }  # fmt: skip
    daily = read(
        as_role("bi_reader"),
        "select event_day, arm, users, impressions, views, likes, like_rate, user_like_share,"
        " hitrate_5, users_in_both, planned_share, like_rate_low, sample_ratio_alarm"
        " from bi.experiment_daily order by arm",
    )
    assert daily == [
        (DAY, "control", 2, 3, 4, 1, 0.25, 0.5, 1 / 3, 0, 0.5, None, False),
        (DAY, "test", 2, 2, 1, 1, 1.0, 0.5, 0.5, 0, 0.5, None, False),
    ]
    result = read(
        as_role("bi_reader"),
        "select arm, compared_with, metric, is_primary, first_day, last_day, value,"
        " value_compared, difference, verdict from bi.experiment_result order by metric",
    )
    both = ("test", "control")
    assert result == [
        (*both, "hitrate_5", False, DAY, DAY, 0.5, 1 / 3, 0.5 - 1 / 3, "too little data"),
        (*both, "like_rate", True, DAY, DAY, 1.0, 0.25, 0.75, "too little data"),
        (*both, "user_like_share", False, DAY, DAY, 0.5, 0.5, 0.0, "too little data"),
    ]


def test_only_the_day_and_what_was_known_of_it_counts(warehouse, given):
    shown(given, 1, [10], hour=0)
    shown(given, 1, [11], hour=23.999)
    shown(given, 1, [12], hour=-0.001)
    shown(given, 1, [13], hour=24)
    for post in (10, 11, 12, 13):
        event(given, 1, post, "like", 23.9995)
    event(given, 2, 10, "like", 24)
    shown(given, 2, [10, 11], hour=12)
    event(given, 2, 10, "view", 13, known_from=NIGHT + timedelta(days=1))
    event(given, 2, 11, "view", 13, known_to=NIGHT)

    job.read_out(warehouse, NIGHT)

    assert counted(warehouse) == {1: (2, 2, 2, 2), 2: (1, 0, 0, 0)}


def test_what_happened_before_the_answer_does_not_count(warehouse, given):
    shown(given, 1, [10, 11, 12], hour=12)
    event(given, 1, 10, "like", 11)
    event(given, 1, 11, "like", 11)
    event(given, 1, 11, "view", 12.5)
    event(given, 1, 12, "like", 12 - 4 / 60)  # the clocks of product and feed differ

    job.read_out(warehouse, NIGHT)

    assert counted(warehouse) == {1: (1, 1, 2, 1)}


def test_a_post_shown_twice_counts_once_and_only_the_first_five_make_a_hit(warehouse, given):
    shown(given, 1, [10, 11, 12, 13, 14, 15], hour=8)
    shown(given, 1, [10, 16], hour=9)
    event(given, 1, 15, "like", 10)
    event(given, 1, 10, "view", 10)

    job.read_out(warehouse, NIGHT)

    assert counted(warehouse) == {1: (2, 0, 2, 1)}


def test_users_of_both_arms_are_counted_apart(warehouse, given, as_role):
    shown(given, 1, [10], hour=8)
    shown(given, 1, [11], hour=9, arm="test")
    shown(given, 2, [10], hour=8)
    shown(given, 3, [10], hour=8, arm="test")
    shown(given, 4, [10], hour=8, arm=None)
    shown(given, 5, [10], hour=8, experiment="unknown")
    event(given, 1, 10, "like", 12)

    job.read_out(warehouse, NIGHT)

    found = read(
        as_role("bi_reader"),
        "select arm, users, impressions, likes, users_in_both from bi.experiment_daily order by 1",
    )
    assert found == [("control", 1, 1, 0, 1), ("test", 1, 1, 0, 1)]
    assert set(counted(warehouse)) == {1, 2, 3}


def many(
    engine: Engine,
    counts: dict[str, int],
    rates: dict[str, float],
    day: date = DAY,
    first_user: int = 1,
) -> None:
    """Log one answer with five posts to so many users of each arm, and likes at these rates."""
    with engine.begin() as connection:
        connection.execute(text("select experiment.make_impression_days(:day, :day)"), {"day": day})
        connection.execute(
            text(
                f"create table if not exists raw.feed_data_{day:%Y%m%d} partition of raw.feed_data"
                f" for values from ('{day}') to ('{day + timedelta(days=1)}')"
            )
        )
        for arm, number in counts.items():
            values = {"arm": arm, "first": first_user, "number": number, "day": day}
            connection.execute(
                text(
                    "insert into experiment.impression select gen_random_uuid(),"
                    " cast(:day as date) + interval '8 hours', id, 'feed', :arm, :day, 6, 'm',"
                    " 'user', '{1,2,3,4,5}', '{1,2,3,4,5}', '{1,1,1,1,1}'"
                    " from generate_series(:first, :first + :number - 1) as id"
                ),
                values,
            )
            connection.execute(
                text(
                    "insert into raw.feed_data (timestamp, user_id, post_id, action, copies,"
                    " event_day, known_from) select cast(:day as date) + interval '9 hours', id,"
                    " post, action, 1, :day, cast(:day as date) + 1"
                    " from generate_series(:first, :first + :number - 1) as id"
                    " cross join generate_series(1, 5) as post"
                    " cross join unnest(array['view', 'like']) as action"
                    " where action = 'view' or experiment.bucket('like ' || post, id) < :rate"
                ),
                {**values, "rate": rates[arm]},
            )
            first_user += number
        connection.execute(
            text(
                "insert into ops.load (table_name, event_day, as_of, mode, rows_read, rows_loaded,"
                " duplicates, quarantined, checksum) values ('feed_data', :day,"
                " cast(:day as date) + 1, 'nightly', 1, 1, 0, 0, 0)"
            ),
            {"day": day},
        )


EVEN = {"control": 1_000, "test": 1_000}


def test_a_better_arm_is_called_better(warehouse, as_role):
    many(warehouse, EVEN, {"control": 0.10, "test": 0.20})

    assert job.read_out(warehouse, NIGHT) == 5

    found = read(
        as_role("bi_reader"),
        "select value, value_compared, difference, low, high, p_value, verdict"
        " from bi.experiment_result where is_primary",
    )
    value, other, difference, low, high, p_value, verdict = found[0]
    assert (value - 0.2, other - 0.1) == pytest.approx((0, 0), abs=0.02)
    assert low < difference < high
    assert low == pytest.approx(0.1, abs=0.03)
    assert p_value < 1e-6
    assert verdict == "better"


def test_no_effect_is_called_where_the_sample_ratio_rings_the_alarm(warehouse, as_role):
    many(warehouse, {"control": 1_000, "test": 1_200}, {"control": 0.10, "test": 0.30})

    job.read_out(warehouse, NIGHT)

    reader = as_role("bi_reader")
    found = read(
        reader,
        "select round(cast(sample_ratio_p as numeric), 5), sample_ratio_alarm, difference, low,"
        " high, p_value, verdict from bi.experiment_result",
    )
    assert {*map(str, found[0])} >= {"0.00002", "True", "None", "not to be read"}
    assert {row[1:] for row in found} == {(True, None, None, None, None, "not to be read")}
    assert read(reader, "select distinct sample_ratio_alarm from bi.experiment_daily") == [(True,)]
    warned = read(
        warehouse,
        "select severity, success from ops.validation"
        " where expectation = 'users are split as planned'",
    )
    assert warned == [("warning", False)]


def published(engine: Engine) -> list[tuple]:
    return read(
        engine,
        "select table_name, as_of, rows, checksum, replaced from ops.publication"
        " order by publication_id",
    )


def test_nights_sum_up_and_a_rerun_changes_nothing(warehouse, as_role):
    days = [DAY + timedelta(days=number) for number in range(3)]
    for number, day in enumerate(days):
        many(warehouse, EVEN, {"control": 0.1, "test": 0.15}, day, first_user=1 + 500 * number)

    for day in days:
        job.read_out(warehouse, day + timedelta(days=1))
    first = published(warehouse)
    for day in days:
        job.read_out(warehouse, day + timedelta(days=1))

    assert published(warehouse) == first
    history = read(
        as_role("bi_reader"),
        "select as_of, first_day, last_day, users, users_compared, users_in_both"
        " from bi.experiment_result_history where is_primary order by as_of",
    )
    # Each night 2,000 users, 500 further on: from the second on some come from the other arm.
    assert [row[0] for row in history] == [day + timedelta(days=1) for day in days]
    assert [row[1:3] for row in history] == [(DAY, day) for day in days]
    assert [sum(row[3:5]) + row[5] for row in history] == [2_000, 2_500, 3_000]
    sums = "select sum({0}) from experiment.user_day union all select sum({0}) from"
    sums += " experiment.user_total where as_of = :last"
    for column in ("impressions", "hits", "views", "likes"):
        once, total = read(warehouse, sums.format(column), last=days[-1] + timedelta(days=1))
        assert once == total


def test_a_night_that_was_left_out_is_counted_with_the_next(warehouse):
    days = [DAY + timedelta(days=number) for number in range(3)]
    for day in days:
        many(warehouse, EVEN, {"control": 0.1, "test": 0.15}, day)
    night = days[-1] + timedelta(days=1)

    job.read_out(warehouse, DAY + timedelta(days=1))
    job.read_out(warehouse, night)
    totals = "select user_id, impressions, views, likes, first_as_of from experiment.user_total"
    totals += " where as_of = :night order by 1"
    found = read(warehouse, totals, night=night)
    write(warehouse, "delete from experiment.user_total")
    job.read_out(warehouse, night)

    assert read(warehouse, totals, night=night) == found
    assert {row[1] for row in found} == {3}


def test_a_day_that_changed_is_summed_anew_by_the_nights_after_it(warehouse):
    days = [DAY + timedelta(days=number) for number in range(2)]
    for day in days:
        many(warehouse, EVEN, {"control": 0.1, "test": 0.15}, day)
        job.read_out(warehouse, day + timedelta(days=1))
    write(
        warehouse,
        "delete from experiment.impression where user_id = 7 and as_of = :day", day=DAY,
    )  # fmt: skip

    for day in days:
        job.read_out(warehouse, day + timedelta(days=1))

    found = read(
        warehouse,
        "select impressions from experiment.user_total where user_id = 7 and as_of = :night",
        night=days[-1] + timedelta(days=1),
    )
    assert found == [(1,)]


def test_only_the_last_snapshots_are_kept(warehouse):
    for number in range(job.KEEP_DAYS + 3):
        day = DAY + timedelta(days=number)
        many(warehouse, {"control": 2, "test": 2}, {"control": 0.5, "test": 0.5}, day)
        with warehouse.begin() as connection:
            job._count(connection, day + timedelta(days=1))

    kept = read(warehouse, "select count(distinct as_of) from experiment.user_total")
    assert kept == [(job.KEEP_DAYS + 1,)]


def test_changed_shares_are_no_sample_ratio_alarm(warehouse, as_role, experiment):
    for day, shares in [(DAY, [0.5, 0.5]), (DAY + timedelta(days=1), [0.1, 0.9])]:
        write(
            warehouse,
            "insert into experiment.frozen values (:day, 'feed', 'feed-1', '{control,test}',"
            " :shares)",
            day=day,
            shares=shares,
        )
    many(warehouse, EVEN, {"control": 0.1, "test": 0.1})
    later = DAY + timedelta(days=1)
    shares = {"control": 200, "test": 1_800}
    many(warehouse, shares, {"control": 0.1, "test": 0.1}, later, first_user=10_000)
    job.read_out(warehouse, NIGHT)
    job.read_out(warehouse, NIGHT + timedelta(days=1))
    write(as_role("migrator"), "delete from experiment.frozen where name = 'feed'")

    reader = as_role("bi_reader")
    daily = "select planned_share, sample_ratio_p from bi.experiment_daily order by arm"
    assert read(reader, daily) == [(0.1, 1.0), (0.9, 1.0)]
    (found,) = read(
        reader,
        "select users, users_compared, sample_ratio_p from bi.experiment_result where is_primary",
    )
    assert found == (2_800, 1_200, 1.0)


def test_nothing_shown_yet_is_nothing_to_read_and_nothing_shown_any_more_is_a_failure(
    warehouse, given
):
    assert job.read_out(warehouse, NIGHT) == 0
    shown(given, 1, [10])
    shown(given, 2, [10], arm="test")
    job.read_out(warehouse, NIGHT)
    before = published(warehouse)

    with pytest.raises(NothingToPublish, match=r"no impression on 2026-03-02.*feed until"):
        job.read_out(warehouse, NIGHT + timedelta(days=1))

    assert published(warehouse) == before


def test_figures_that_make_no_sense_are_not_published(warehouse, given, monkeypatch, as_role):
    shown(given, 1, [10])
    shown(given, 2, [10], arm="test")
    monkeypatch.setattr(
        readout, "daily", lambda sums, day: REAL_DAILY(sums, day).assign(hitrate_5=1.5)
    )

    with pytest.raises(CheckFailed, match="hitrate_5"):
        job.read_out(warehouse, NIGHT)

    assert read(as_role("bi_reader"), "select * from bi.experiment_daily") == []


REAL_DAILY = readout.daily


def test_old_impressions_are_dropped_and_the_coming_days_made(warehouse, given):
    impressions.make_days(warehouse, NIGHT)
    shown(given, 1, [10])
    shown(given, 1, [10], hour=24 * 5)

    assert impressions.drop_days(warehouse, NIGHT + timedelta(days=3), None) == []
    assert impressions.drop_days(warehouse, NIGHT + timedelta(days=3), 3) == ["impression_20260301"]
    assert len(read(warehouse, "select * from experiment.impression")) == 1
    assert job.make_days(warehouse, NIGHT + timedelta(days=3), 3) == 3


def test_forgetting_a_user_erases_what_the_readout_counted(warehouse, given):
    shown(given, 1, [10])
    shown(given, 2, [10], arm="test")
    job.read_out(warehouse, NIGHT)

    deleted = forget.forget(warehouse, "user", 1)

    assert deleted == {
        "experiment.impression": 1, "experiment.user_day": 1, "experiment.user_total": 1,
    }  # fmt: skip


def test_the_dag_makes_days_waits_for_the_feed_and_publishes(warehouse, given, monkeypatch):
    from airflow.dag_processing.dagbag import DagBag

    airflow_home.make_database()
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", airflow_home.connection_uri(warehouse.url))
    many(warehouse, EVEN, {"control": 0.1, "test": 0.1})
    dag = DagBag(dag_folder=airflow_home.DAGS / "experiment_readout.py").dags["experiment_readout"]

    for task in dag.tasks:
        task.retries = 0
    done = dag.test(logical_date=at(0, NIGHT))

    assert done.state == "success"
    assert {one.task_id: one.state for one in done.get_task_instances()} == {
        "make_days": "success",
        "day_loaded": "success",
        "read_out": "success",
        "pages": "success",
    }
    assert [row[:3] for row in published(warehouse)] == [
        ("result.experiment_daily", NIGHT, 2),
        ("result.experiment_result", NIGHT, 3),
    ]


# --- real data ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bandit() -> pd.DataFrame:
    """Return the logs of two real policies: item_id, position, click, propensity_score, policy."""
    folder = Path(os.environ.get("NIGHTSHIFT_DATA", "/nowhere")) / "open_bandit"
    if not folder.is_dir():
        pytest.skip("real data: NIGHTSHIFT_DATA names no folder with open_bandit/random_men.csv")
    return pd.concat(
        pd.read_csv(folder / f"{policy}_men.csv").assign(policy=policy)
        for policy in ("random", "bts")
    ).reset_index(drop=True)


def test_two_real_policies_are_read_out_as_statsmodels_has_them(
    warehouse, bandit, experiment, as_role
):
    """Each row of the logs is a user of its own who was shown one item; a click is a like."""
    experiment("bandit", arms=["random", "bts"])
    frame = bandit.assign(user_id=np.arange(len(bandit)))
    with warehouse.begin() as connection:
        connection.execute(text("select experiment.make_impression_days(:day, :day)"), {"day": DAY})
        connection.execute(
            text(
                "create table raw.feed_data_20260301 partition of raw.feed_data"
                " for values from ('2026-03-01') to ('2026-03-02')"
            )
        )
        connection.execute(
            text(
                "insert into experiment.impression select gen_random_uuid(),"
                " cast(:day as date) + interval '8 hours', user_id, 'bandit', policy, :day, 6,"
                " policy, 'user', array[item], array[place], array[1], array[chance]"
                " from unnest(cast(:users as bigint[]), cast(:policies as text[]),"
                " cast(:items as bigint[]), cast(:places as smallint[]), cast(:chances as real[]))"
                " as log (user_id, policy, item, place, chance)"
            ),
            {
                "day": DAY,
                "users": frame["user_id"].tolist(),
                "policies": frame["policy"].tolist(),
                "items": frame["item_id"].tolist(),
                "places": frame["position"].tolist(),
                "chances": frame["propensity_score"].tolist(),
            },
        )
        connection.execute(
            text(
                "insert into raw.feed_data (timestamp, user_id, post_id, action, copies,"
                " event_day, known_from) select cast(:day as date) + interval '9 hours',"
                " user_id, item, action, 1, :day, cast(:day as date) + 1"
                " from unnest(cast(:users as bigint[]), cast(:items as bigint[]),"
                " cast(:clicks as integer[])) as log (user_id, item, click)"
                " cross join unnest(array['view', 'like']) as action"
                " where action = 'view' or click = 1"
            ),
            {
                "day": DAY,
                "users": frame["user_id"].tolist(),
                "items": frame["item_id"].tolist(),
                "clicks": frame["click"].tolist(),
            },
        )

    job.read_out(warehouse, NIGHT)

    clicks = frame.groupby("policy")["click"].agg(["sum", "size"])
    theirs = two_shares(
        clicks.loc["bts", "sum"], clicks.loc["bts", "size"],
        clicks.loc["random", "sum"], clicks.loc["random", "size"],
        method="wald", compare="diff",
    )  # fmt: skip
    (found,) = read(
        as_role("bi_reader"),
        "select users, users_compared, value, value_compared, difference, p_value,"
        " sample_ratio_p from bi.experiment_result where metric = 'like_rate'",
    )
    assert found[:2] == (10_000, 10_000)
    rates = frame.groupby("policy")["click"].mean()
    assert found[2:4] == pytest.approx((rates["bts"], rates["random"]))
    assert found[4] == pytest.approx(theirs.diff)
    assert found[5] == pytest.approx(theirs.pvalue, rel=1e-2)
    assert found[6] == 1.0
