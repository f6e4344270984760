"""The simulated shop: as hard as real data, the same everywhere, and true to what it planted."""

from collections.abc import Callable
from datetime import date, timedelta
from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from sqlalchemy import Engine, text

from jobs.simulate import campaigns, codes, job
from jobs.simulate.clients import FIRST_CLIENT_ID, World, alive, born_by, plan
from jobs.simulate.clock import Columns, concatenate, day_number, season, take
from jobs.simulate.purchases import CATEGORY_EMPTY, CATEGORY_NONE, TIE_WRONG
from jobs.simulate.rows import NO_CREATED_AT, TABLES, frame
from jobs.simulate.shop import arrivals, windows
from jobs.simulate.shop_truth import funnel, next_steps, truth
from jobs.warehouse import rows

START = date(2024, 9, 7)
DAYS = 540
CLIENTS = 25_000
PURCHASES, MESSAGES, EVENTS = TABLES


@cache
def world() -> World:
    return plan(7, CLIENTS, START, DAYS)


@cache
def history() -> dict[str, Columns]:
    """Return all rows that arrived in the world's days, in codes."""
    found = [window.rows for window in windows(world(), world().start, world().end, step=60)]
    return {table: concatenate([rows[table] for rows in found]) for table in TABLES}


@cache
def clean(table: str) -> pd.DataFrame:
    """Return the history of one table without copies and offenders."""
    columns = {name: history()[table][name] for name in TABLES[table]}
    found = pd.DataFrame(columns).drop_duplicates()
    found = found[found["client_id"] > 0]
    if table == PURCHASES:
        found = found[found["price"] > 0]
    return found


def buyers(as_of: int, days: int = 90) -> np.ndarray:
    found = clean(PURCHASES)
    window = (found["date"] >= as_of) & (found["date"] < as_of + days)
    return found.loc[window, "client_id"].unique()


def same(one: Columns, other: Columns) -> bool:
    """Return whether two tables hold the same rows, in any order."""
    first, second = pd.DataFrame(one), pd.DataFrame(other)[list(one)]
    by = list(one)
    return first.sort_values(by, ignore_index=True).equals(
        second.sort_values(by, ignore_index=True)
    )


# ---- what the demo is told to look like


def test_about_two_percent_of_clients_buy_in_any_90_days():
    cutoffs = [world().end - back for back in (450, 360, 270, 180, 90)]

    shares = []
    for cutoff in cutoffs:
        known = born_by(world(), cutoff - 1)
        shares.append(np.sum(buyers(cutoff) < FIRST_CLIENT_ID + known) / known)

    assert np.mean(shares) == pytest.approx(0.02, abs=0.003)
    assert min(shares) > 0.014
    assert max(shares) < 0.027


def test_messages_are_sixty_to_one_purchase_row():
    messages, purchases = (len(history()[table]["client_id"]) for table in (MESSAGES, PURCHASES))

    assert messages / purchases == pytest.approx(60, rel=0.15)


def test_a_third_of_the_purchase_rows_are_exact_copies_and_few_messages_are():
    surplus = {
        table: pd.DataFrame({name: history()[table][name] for name in TABLES[table]})
        .duplicated()
        .mean()
        for table in TABLES
    }

    assert surplus[PURCHASES] == pytest.approx(1 / 3, abs=0.03)
    assert 0.02 < surplus[MESSAGES] < 0.05
    assert 0 < surplus[EVENTS] < 0.05


def test_category_lists_are_texts_with_empty_none_and_repeated_ones():
    found = frame(world(), PURCHASES, history()[PURCHASES])["category_ids"]

    assert found.str.fullmatch(r"\[\]|\[None\]|\['\d+'(, '\d+')*\]").all()
    assert (found == "[]").mean() == pytest.approx(CATEGORY_EMPTY, abs=0.01)
    assert (found == "[None]").mean() == pytest.approx(CATEGORY_NONE, abs=0.01)
    ids = found[found.str.startswith("['")].str.findall(r"\d+")
    assert ids.map(lambda path: len(set(path)) < len(path)).mean() > 0.01


def test_message_ids_come_back_in_other_years_for_other_clients():
    sends = clean(MESSAGES).query("event == @codes.SEND")
    messages = sends.drop_duplicates(["message_id", "client_id"])

    again = messages["message_id"].duplicated(keep=False)

    assert again.sum() > 100
    reused = messages[again].groupby("message_id")
    assert (reused["client_id"].nunique() > 1).all()
    assert (reused["date"].max() - reused["date"].min() > 300).all()


def test_clients_arrive_all_the_time_and_many_buy_once():
    births = world().birth[world().birth >= world().start]
    days = clean(PURCHASES).drop_duplicates(["client_id", "date"]).groupby("client_id").size()

    assert len(world().birth) == pytest.approx(CLIENTS, abs=1)
    per_month = np.histogram(births, bins=18, range=(world().start, world().end))[0]
    assert per_month.min() > 0.9 * per_month.mean()
    assert (days == 1).mean() > 0.5
    assert days.max() >= 8


def test_more_is_bought_in_the_season():
    year = np.arange(day_number(date(2025, 1, 1)), day_number(date(2026, 1, 1)))

    assert season(year).mean() == pytest.approx(1, abs=0.05)
    bought = clean(PURCHASES).groupby("date").size()
    friday = bought.loc[day_number(date(2025, 11, 21)) : day_number(date(2025, 11, 30))].mean()
    usual = bought.loc[day_number(date(2025, 10, 1)) : day_number(date(2025, 10, 31))].mean()
    assert friday > 1.2 * usual


def test_offenders_are_there_and_few():
    found = {table: history()[table] for table in TABLES}

    shares = {
        "negative price": np.mean(found[PURCHASES]["price"] < 0),
        "purchase without client": np.mean(found[PURCHASES]["client_id"] == codes.NULL),
        "unknown event": np.mean(found[MESSAGES]["event"] == codes.UNKNOWN),
        "message without client": np.mean(found[MESSAGES]["client_id"] == codes.NULL),
        "unknown event type": np.mean(found[EVENTS]["event_type"] == codes.UNKNOWN_TYPE),
    }

    for name, share in shares.items():
        assert 0 < share < 0.002, name


def test_some_messages_have_a_date_and_no_created_at():
    absent = history()[MESSAGES]["created_at"] == codes.NULL

    assert absent.mean() == pytest.approx(NO_CREATED_AT, abs=0.002)
    assert (history()[MESSAGES]["date"][absent] >= world().start).all()


# ---- time


def test_late_rows_reach_the_source_one_to_three_days_after_their_day():
    for table, columns in history().items():
        day = columns["date"] if table == PURCHASES else None
        if table == EVENTS:
            day = columns["event_time"] // 86_400_000_000
        if table == MESSAGES:
            columns = take(columns, columns["created_at"] != codes.NULL)
            day = columns["created_at"] // 86_400_000_000

        lag = columns["arrival"] - day

        assert lag.min() == 0, table
        assert lag.max() == 3, table
        assert 0.005 < np.mean(lag > 0) < 0.06, table


def test_a_day_is_the_same_in_whatever_order_it_is_asked_for():
    days = [START + timedelta(days=back) for back in (300, 40, 41)]
    once = [arrivals(world(), day).rows for day in days]

    again = [arrivals(world(), day).rows for day in reversed(days)][::-1]
    other = arrivals(plan(8, CLIENTS, START, DAYS), days[0]).rows

    for one, two in zip(once, again, strict=True):
        for table in TABLES:
            pd.testing.assert_frame_equal(pd.DataFrame(one[table]), pd.DataFrame(two[table]))
    assert not same(once[0][PURCHASES], other[PURCHASES])


def test_a_longer_plan_begins_with_the_same_clients_and_days():
    day = START + timedelta(days=60)
    short = plan(3, 2_000, START, 61)
    long = plan(3, 2_000, START, 400)

    born = len(short.birth)

    assert len(long.birth) > born
    assert (long.rate[:born] == short.rate).all()
    for table, columns in arrivals(short, day).rows.items():
        assert same(columns, arrivals(long, day).rows[table])


def test_windows_of_any_length_hold_the_same_rows():
    small = plan(5, 20_000, START, 60)
    whole = next(windows(small, small.start, small.end, step=60))

    days = list(windows(small, small.start, small.end, step=1))

    for table in (MESSAGES, EVENTS):
        parts = concatenate([window.rows[table] for window in days])
        assert same(whole.rows[table], parts)
    parts = concatenate([window.rows[PURCHASES] for window in days])
    fixed = ["client_id", "date", "category_ids", "message_id", "arrival"]
    assert same(
        {name: whole.rows[PURCHASES][name] for name in fixed},
        {name: parts[name] for name in fixed},
    )
    assert len(whole.corrections["date"]) == 0
    assert sum(len(window.corrections["date"]) for window in days) > 0


def test_corrections_come_one_or_two_days_later_and_change_price_or_quantity():
    small = plan(5, 20_000, START, 40)

    found = concatenate(
        [window.corrections for window in windows(small, small.start, small.end, step=1)]
    )

    assert set(found["correction"] - found["date"]) == {1, 2}
    cheaper = found["new_price"] < found["price"]
    more = found["new_quantity"] == found["quantity"] + 1
    assert (cheaper ^ more).all()
    assert cheaper.any()
    assert more.any()


def test_a_day_outside_the_plan_is_refused():
    with pytest.raises(ValueError, match="plan it for more days"):
        arrivals(world(), START + timedelta(days=DAYS))


# ---- what belongs together


def test_every_purchase_ends_a_visit_of_its_client():
    bought = clean(EVENTS).query("event_type == @codes.PURCHASE")
    visits = set(zip(bought["client_id"], bought["event_time"] // 86_400_000_000, strict=True))
    # what came before the last three days has arrived in full
    old = clean(PURCHASES).query("date < @world().end - 3")

    baskets = set(zip(old["client_id"], old["date"], strict=True))

    assert baskets <= visits


def test_a_tied_purchase_names_a_message_that_its_client_clicked():
    clicks = clean(MESSAGES).query("event == @codes.CLICK")
    clicked = set(zip(clicks["client_id"], clicks["message_id"], strict=True))
    tied = clean(PURCHASES).query("message_id > 0 and date < @world().end - 3")

    named = [pair in clicked for pair in zip(tied["client_id"], tied["message_id"], strict=True)]

    assert 0.1 < (clean(PURCHASES)["message_id"] > 0).mean() < 0.4
    assert np.mean(named) == pytest.approx(1 - TIE_WRONG, abs=0.02)


def test_nothing_is_sent_after_a_subscription_ended():
    ends = (codes.UNSUBSCRIBE, codes.COMPLAIN, codes.HARD_BOUNCE)
    messages = clean(MESSAGES)
    ended = messages[messages["event"].isin(ends)].groupby(["client_id", "channel"])["date"].min()
    sends = (
        messages[messages["event"] == codes.SEND].groupby(["client_id", "channel"])["date"].max()
    )

    both = pd.concat({"ended": ended, "sent": sends}, axis=1).dropna()

    assert len(both) > 1_000
    assert (both["sent"] <= both["ended"]).all()


# ---- the planted truth


def test_the_funnel_happens_at_its_true_rates():
    days = 120
    expected = funnel(world(), START, days)
    first = day_number(START)
    sent = concatenate([campaigns.sends(world(), day) for day in range(first, first + days)])

    for channel, rates in enumerate(expected.itertuples()):
        of = take(sent, sent["channel"] == channel)
        steps = [np.ones(len(of["client"]), dtype=bool), of["opened"], of["clicked"], of["bought"]]
        for before, after, rate in zip(steps[:-1], steps[1:], rates[-3:], strict=True):
            error = np.sqrt(rate * (1 - rate) / before.sum())
            assert abs(after[before].mean() - rate) < 4 * error


def test_a_click_moves_its_client_to_buy():
    first = day_number(START) + 100
    sent = concatenate([campaigns.sends(world(), day) for day in range(first, first + 120)])
    lives = np.concatenate(
        [
            alive(world(), campaigns.sends(world(), day)["client"], day)
            for day in range(first, first + 120)
        ]
    )
    bought = clean(PURCHASES)
    pairs = set(zip(bought["client_id"], bought["date"], strict=True))

    def buys_within_three_days(chosen: np.ndarray) -> float:
        seen = zip(sent["client"][chosen], sent["open_day"][chosen], strict=True)
        return float(
            np.mean(
                [
                    any((FIRST_CLIENT_ID + who, day + wait) in pairs for wait in range(4))
                    for who, day in seen
                ]
            )
        )

    clicked = buys_within_three_days(lives & sent["clicked"])
    only_opened = buys_within_three_days(lives & sent["opened"] & ~sent["clicked"])

    assert clicked > 3 * only_opened


@pytest.mark.parametrize("back", [450, 180, 90])
def test_the_truth_is_calibrated_and_tells_buyers_apart(back):
    cutoff = world().end - back
    planted = truth(world(), START + timedelta(days=cutoff - world().start))

    bought = planted["client_id"].isin(buyers(cutoff)).to_numpy()

    chance = planted["probability"].to_numpy()
    assert ((chance >= 0) & (chance <= 1)).all()
    error = np.sqrt(np.sum(chance * (1 - chance)))
    assert abs(bought.sum() - chance.sum()) < 4 * error
    # within each fifth of the expected buyers too
    fifth = np.minimum((np.cumsum(np.sort(chance)) / chance.sum() * 5).astype(int), 4)[
        np.argsort(np.argsort(chance, kind="stable"), kind="stable")
    ]
    for part in range(5):
        of = fifth == part
        error = np.sqrt(np.sum(chance[of] * (1 - chance[of])))
        assert abs(bought[of].sum() - chance[of].sum()) < 4 * error
    assert 0.9 < roc_auc_score(bought, chance) < 0.99
    assert planted.loc[~planted["alive"], "probability"].mean() < 0.005


def test_the_truth_expects_the_spend_that_comes():
    cutoffs = [world().end - back for back in (450, 360, 270, 180, 90)]

    expected = sum(
        truth(world(), START + timedelta(days=cutoff - world().start))["expected_spend"].sum()
        for cutoff in cutoffs
    )

    spent = 0.0
    for cutoff in cutoffs:
        known = FIRST_CLIENT_ID + born_by(world(), cutoff - 1)
        lines = clean(PURCHASES)[clean(PURCHASES)["client_id"] < known]
        lines = lines[lines["date"].between(cutoff, cutoff + 89)]
        spent += (lines["price"] * lines["quantity"]).sum()
    assert spent == pytest.approx(expected, rel=0.1)


def test_the_truth_refuses_a_horizon_that_ends_before_what_is_under_way():
    with pytest.raises(ValueError, match="expected 10 or more"):
        truth(world(), date(2025, 6, 1), horizon_days=7)


def test_the_next_step_depends_on_the_last_two():
    planted = next_steps()
    totals = planted.groupby(["visit", "before", "last"])["probability"].sum()
    assert np.allclose(totals, 1)

    events = clean(EVENTS).query("event_type <= @codes.PURCHASE")
    events = events.sort_values(["client_id", "event_time"])
    day = events["event_time"] // 86_400_000_000
    step = events.groupby([events["client_id"], day])["event_type"]
    last, before = step.shift(1), step.shift(2)

    def cart_after(first: int, second: int) -> float:
        return float(
            (events["event_type"] == codes.CART)[(before == first) & (last == second)].mean()
        )

    assert abs(cart_after(codes.VIEW, codes.VIEW) - cart_after(codes.FAVORITE, codes.VIEW)) > 0.02
    assert abs(cart_after(codes.VIEW, codes.CART) - cart_after(codes.CART, codes.CART)) > 0.01


# ---- in the database


@pytest.fixture
def shop_database(app: Engine, as_role: Callable[[str], Engine]) -> Engine:
    """Return the product's database, empty, as its owner."""
    owner = as_role("simulator")
    with owner.begin() as connection:
        assert str(connection.engine.url.database).endswith("_test")
        connection.execute(text("drop schema if exists simulation cascade"))
        for table in TABLES:
            connection.execute(text(f"drop table if exists {table}"))
    return owner


def content(engine: Engine) -> dict[str, tuple[int, int]]:
    """Return each source table's count and a checksum that does not know the rows' order."""
    found = {}
    with engine.connect() as connection:
        for table in TABLES:
            row = rows(
                connection,
                f"select count(*) as n, sum(hashtextextended(t::text, 0)) as h from {table} t",
            )[0]
            found[table] = (row["n"], row["h"])
    return found


def forget(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("drop schema simulation cascade"))
        for table in TABLES:
            connection.execute(text(f"drop table {table}"))


SMALL = {"clients": 6_000, "start": date(2026, 1, 1), "seed": 11}


def test_a_range_equals_its_days_played_one_by_one(shop_database):
    end = date(2026, 2, 5)
    job.simulate(shop_database, end=end, **SMALL)
    whole = content(shop_database)
    forget(shop_database)

    job.simulate(shop_database, end=date(2026, 1, 10), **SMALL)
    for after in range(26):
        assert job.play_day(shop_database, date(2026, 1, 10) + timedelta(days=after)) > 0

    assert content(shop_database) == whole


def test_asking_for_a_day_twice_writes_it_once(shop_database):
    end = date(2026, 1, 10)
    job.simulate(shop_database, end=end, **SMALL)
    job.play_day(shop_database, end)
    before = content(shop_database)

    assert job.play_day(shop_database, end) == 0
    assert job.play_day(shop_database, date(2026, 1, 2)) == 0
    assert job.simulate(shop_database, end=end, **SMALL) == 0

    assert content(shop_database) == before


def test_a_load_that_was_interrupted_goes_on_where_it_stopped(shop_database):
    end = date(2026, 3, 20)
    job.simulate(shop_database, end=end, **SMALL)
    whole = content(shop_database)
    forget(shop_database)

    def interrupt(day: date, written: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.simulate(shop_database, end=end, report=interrupt, **SMALL)
    part = content(shop_database)
    job.simulate(shop_database, end=end, **SMALL)

    assert part != whole
    assert content(shop_database) == whole
    with shop_database.connect() as connection:
        indexes = rows(connection, "select indexname from pg_indexes where schemaname = 'public'")
    assert {row["indexname"] for row in indexes} == set(job.INDEXES)


def test_the_database_holds_what_the_simulation_says(shop_database):
    end = date(2026, 1, 4)
    job.simulate(shop_database, end=end, **SMALL)
    planned = job.world(shop_database, end)
    window = next(windows(planned, planned.start, planned.end, step=3))

    with shop_database.connect() as connection:
        for table, columns in window.rows.items():
            expected = frame(planned, table, columns)
            found = pd.DataFrame(rows(connection, f"select * from {table}"))
            assert list(found.columns) == list(TABLES[table])
            ordered = [
                sorted(
                    map(str, shown.astype(object).where(shown.notna(), None).to_numpy().tolist())
                )
                for shown in (found.assign(**dates(found)), expected.assign(**dates(expected)))
            ]
            assert ordered[0] == ordered[1], table


def dates(shown: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the day and time columns as texts."""
    times = [name for name in ("date", "created_at", "event_time") if name in shown]
    return {name: pd.to_datetime(shown[name]).astype(str) for name in times}


def test_playing_a_day_brings_late_rows_and_corrections(shop_database):
    start = date(2026, 1, 1)
    planned = plan(2, 30_000, start, 60)
    window = next(
        window
        for window in windows(planned, planned.start, planned.end, step=1)
        if len(window.corrections["date"]) and np.any(window.rows[PURCHASES]["date"] < window.first)
    )
    day = start + timedelta(days=window.first - planned.start)
    late = int(np.sum(window.rows[PURCHASES]["date"] < window.first))
    job.simulate(shop_database, clients=30_000, start=start, end=day, seed=2)
    line = {
        name: window.corrections[name][0].item()
        for name in ("client_id", "price", "quantity", "new_price", "new_quantity")
    }
    count = (
        "select count(*) filter (where date < :day) as before_day, "
        "count(*) filter (where (client_id, price, quantity) = "
        "(:client_id, :price, :quantity)) as old, "
        "count(*) filter (where (client_id, price, quantity) = "
        "(:client_id, :new_price, :new_quantity)) as new from apparel_purchases"
    )
    with shop_database.connect() as connection:
        before = rows(connection, count, day=day, **line)[0]

    job.play_day(shop_database, day)

    with shop_database.connect() as connection:
        after = rows(connection, count, day=day, **line)[0]
    assert after["before_day"] == before["before_day"] + late
    assert before["old"] >= 1
    # a late copy of the line comes corrected
    came = window.rows[PURCHASES]
    copies = np.sum(
        (came["client_id"] == line["client_id"])
        & (came["price"] == line["new_price"])
        & (came["quantity"] == line["new_quantity"])
    )
    assert (after["old"], after["new"]) == (0, before["old"] + copies)


def test_days_are_played_without_a_gap(shop_database):
    job.simulate(shop_database, end=date(2026, 1, 3), **SMALL)

    with pytest.raises(ValueError, match="simulate up to 2026-01-05 first"):
        job.play_day(shop_database, date(2026, 1, 5))


def test_another_world_in_the_same_database_is_refused(shop_database):
    job.simulate(shop_database, end=date(2026, 1, 2), **SMALL)

    with pytest.raises(ValueError, match="holds seed 11, 6000 clients from 2026-01-01"):
        job.simulate(shop_database, end=date(2026, 1, 2), **{**SMALL, "seed": 12})


def test_rows_of_an_owner_are_not_mixed_with_simulated_ones(shop_database):
    job.create(shop_database)
    with shop_database.begin() as connection:
        connection.execute(text("insert into client_event (client_id) values (1)"))

    with pytest.raises(ValueError, match="client_event: holds rows that are not simulated"):
        job.simulate(shop_database, end=date(2026, 1, 2), **SMALL)


def test_a_day_can_not_be_played_before_there_is_a_world(shop_database):
    job.create(shop_database)

    with pytest.raises(ValueError, match="call simulate first"):
        job.play_day(shop_database, date(2026, 1, 1))
