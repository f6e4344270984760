"""From events to sequences, silences, labels and features: small cases by hand, no look ahead."""

from dataclasses import replace
from datetime import date, timedelta

import behavior_worlds
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from jobs.calibration import Calibration, NothingToLearnFrom
from jobs.client_behavior import (
    blend,
    comparing,
    features,
    labels,
    lstm,
    lstm_training,
    model,
    reading,
    scores,
    silence,
    states,
    tabular,
    training,
    transitions,
    waiting,
)
from jobs.client_behavior.model import NEXT, OF_HEADS, Standing
from jobs.client_behavior.reading import microseconds
from jobs.client_behavior.sequences import (
    DAY_US,
    MOST_EVENTS,
    Sequences,
    build,
    joined,
    sessions,
    settled,
    with_churn,
)
from jobs.client_scores.slices import percent
from jobs.extract.expectations import CLIENT_EVENTS
from jobs.settings import BadSetting

STATES = ("view", "cart", "purchase", "churn")
VIEW, CART, PURCHASE, CHURN = range(4)
MINUTE_US = 60_000_000


def events(*rows: tuple[int, float, int]) -> Sequences:
    """Return the sequences of (client, day, state) rows."""
    client, day, state = zip(*rows, strict=True)
    at = np.round(np.array(day) * DAY_US).astype(np.int64)
    return build(STATES, np.array(client), at, np.array(state, np.int8))


def told(found: Sequences) -> list[tuple[int, float, int]]:
    who = found.clients[found.client()]
    return list(zip(who.tolist(), (found.at / DAY_US).tolist(), found.state.tolist(), strict=True))


# Sequences ----------------------------------------------------------------------------------------


def test_events_in_any_order_become_each_clients_in_order_of_time():
    found = events((7, 3, CART), (5, 9, VIEW), (7, 1, VIEW), (7, 2, PURCHASE), (5, 0, CART))

    assert found.clients.tolist() == [5, 7]
    assert told(found) == [
        (5, 0, CART), (5, 9, VIEW), (7, 1, VIEW), (7, 2, PURCHASE), (7, 3, CART),
    ]  # fmt: skip
    assert found.before().tolist() == [4, CART, 4, VIEW, PURCHASE]
    assert found.before(2).tolist() == [4, 4, 4, 4, VIEW]
    assert found.place().tolist() == [0, 1, 0, 1, 2]
    assert (found.waited() / DAY_US).tolist() == [-1 / DAY_US, 9, -1 / DAY_US, 1, 1]
    assert found.ends().tolist() == [VIEW, CART]


def test_events_of_one_moment_are_ordered_by_state_and_those_alike_are_one():
    rows = [(1, 2, PURCHASE), (1, 2, VIEW), (1, 2, PURCHASE), (1, 2, CART), (2, 2, VIEW)]

    found = events(*rows)

    assert told(found) == [(1, 2, VIEW), (1, 2, CART), (1, 2, PURCHASE), (2, 2, VIEW)]
    assert told(events(*reversed(rows))) == told(found)


def test_of_a_client_with_too_many_events_the_newest_count():
    many = np.arange(100_000, dtype=np.int64)

    found = build(
        STATES,
        np.append(np.full(len(many), 3), 4),
        np.append(many * MINUTE_US, 5),
        np.append(many % 2, 0).astype(np.int8),
    )

    assert np.diff(found.starts).tolist() == [MOST_EVENTS, 1]
    assert found.at[0] == (100_000 - MOST_EVENTS) * MINUTE_US
    assert found.at[MOST_EVENTS - 1] == 99_999 * MINUTE_US


def test_no_event_is_no_client():
    found = build(STATES, *(np.zeros(0, kind) for kind in (np.int64, np.int64, np.int8)))

    assert len(found.clients) == 0
    assert found.starts.tolist() == [0]
    assert len(with_churn(found, DAY_US, 10).state) == 0


def test_events_that_are_kept_leave_clients_with_none_out():
    found = events((1, 1, VIEW), (2, 5, CART), (2, 7, VIEW), (3, 9, CART))

    kept = found.between(2 * DAY_US, 9 * DAY_US)

    assert told(kept) == [(2, 5, CART), (2, 7, VIEW)]
    assert kept.starts.tolist() == [0, 2]


def test_what_both_have_counts_once():
    found = joined(events((1, 1, VIEW), (2, 1, CART)), events((1, 1, VIEW), (1, 2, CART)))

    assert told(found) == [(1, 1, VIEW), (1, 2, CART), (2, 1, CART)]


def test_however_much_clients_do_later_what_they_did_before_stays():
    day = date(2026, 3, 1)
    first = microseconds(day) / DAY_US
    known = events(*[(1, first - 100 + n / 20, VIEW) for n in range(1_900)])
    later = events(*[(1, first + 1 + n / 100, CART) for n in range(MOST_EVENTS)])
    asked = comparing.Asked(known, later, day, day + timedelta(days=30), 30, pd.DataFrame())

    whole = asked.whole()

    # What is read of the first later event must not tell how many there are.
    assert features.of_events(whole, asked.wanted(whole))["events"].iloc[0] == 1_900
    assert asked.outcomes(whole).client.tolist() == [0]


def test_the_gate_asks_of_what_came_from_its_cutoff_on():
    day = date(2026, 3, 1)
    first = microseconds(day) / DAY_US
    known = events(
        (1, first - 40, VIEW), (2, first - 5, VIEW), (2, first - 1, CART),
        (4, first - 181, VIEW), (5, first - 180, VIEW),
    )  # fmt: skip
    later = events((2, first, PURCHASE), (2, first + 5, VIEW), (3, first + 29, VIEW))
    asked = comparing.Asked(known, later, day, day + timedelta(days=30), 30, pd.DataFrame())

    whole = asked.whole()

    foretold = whole.where(asked.wanted(whole))
    assert told(foretold) == told(later)
    assert told(asked.before())[1] == (1, first - 10, CHURN)
    # Looked at are 180 days; whether they leave is not asked of those who were gone already.
    assert whole.clients.tolist() == [1, 2, 3, 5]
    assert asked.outcomes(whole).purchase.tolist() == [0, 1, 0]
    np.testing.assert_array_equal(asked.outcomes(whole).churn, [np.nan, 0, np.nan])


def test_what_followed_the_last_days_waits_until_it_is_known_who_is_silent():
    found = events(
        (1, 0, VIEW), (1, 9, CART), (1, 11, VIEW), (1, 12, CART),
        (2, 10, VIEW), (2, 19, CART),
        (3, 18, VIEW),
    )  # fmt: skip

    kept = settled(with_churn(found, 10 * DAY_US, 20 * DAY_US), 10 * DAY_US, 20 * DAY_US)

    # Of who acted on day 10 it is known now; what came after day 11 may be followed by silence.
    assert told(kept) == [
        (1, 0, VIEW), (1, 9, CART), (1, 11, VIEW), (2, 10, VIEW), (2, 19, CART), (3, 18, VIEW),
    ]  # fmt: skip


def test_the_matrix_of_a_window_that_ends_is_the_planted_one():
    until = behavior_worlds.BEGIN_US + 80 * DAY_US
    silence_us, churn = behavior_worlds.SILENCE_US, len(behavior_worlds.STATES) - 1
    chances = []
    for seed in range(10):
        drawn = behavior_worlds.draw(seed, clients=400, events=250)
        lived = drawn.where(drawn.state < churn).between(0, until)
        whole = with_churn(lived, silence_us, until)
        table = transitions.of_day(whole, silence_us, until).to_pandas()
        leaves = table[(table["segment"] == "all") & (table["to_state"] == "churn")]
        chances.append(leaves[leaves["from_state"] != "churn"]["probability"].mean())

    assert np.mean(chances) == pytest.approx(behavior_worlds.CHURN_CHANCE, rel=0.05)


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        (20, [(1, 0, 0), (1, 10, 3), (1, 12, 0), (2, 11, 0)]),
        (21.9, [(1, 0, 0), (1, 10, 3), (1, 12, 0), (2, 11, 0), (2, 21, 3)]),
        (22, [(1, 0, 0), (1, 10, 3), (1, 12, 0), (1, 22, 3), (2, 11, 0), (2, 21, 3)]),
    ],
)
def test_a_silence_is_a_churn_at_its_end_once_it_has_lasted(until, expected):
    found = events((1, 0, VIEW), (1, 12, VIEW), (2, 11, VIEW))

    silent = with_churn(found, 10 * DAY_US, round(until * DAY_US))

    assert told(silent) == expected


def test_a_churn_depends_on_nothing_after_it():
    found = behavior_worlds.draw(5, clients=300, events=20)
    lived = found.where(found.state < len(found.states) - 1)
    end = int(lived.at.max())
    moment = int(np.quantile(lived.at, 0.6))

    whole = with_churn(lived, 3 * DAY_US, end).between(0, moment)
    then = with_churn(lived.between(0, moment), 3 * DAY_US, moment).between(0, moment)

    assert told(whole) == told(then)
    assert (whole.state == len(found.states) - 1).sum() > 50


def test_a_session_ends_after_half_an_hour():
    at = np.array([0, 30, 61, 62, 200]) * MINUTE_US
    found = build(STATES, np.array([1, 1, 1, 1, 2]), at, np.zeros(5, np.int8))

    assert sessions(found).tolist() == [0, 0, 1, 1, 0]


# States -------------------------------------------------------------------------------------------


def test_rows_of_the_warehouse_become_sequences_by_the_map_of_states(monkeypatch):
    monkeypatch.setenv(states.SETTING, "return=churn, close=, favorite = view")
    moment = pd.Timestamp("2026-03-01 10:00", tz="UTC")
    steps = [["view", "close", "favorite"], ["return"], ["sang"]]
    times = [[moment, moment, moment + pd.Timedelta(seconds=1)], [moment], [moment]]
    table = pa.table(
        {
            "client_id": pa.array([4, 2, 9]),
            "steps": pa.array(steps, pa.list_(pa.string())),
            "times": pa.array(times, pa.list_(pa.timestamp("us", "UTC"))),
        }
    )

    found = reading.of_rows(table, states.state_of())

    assert found.states[-1] == "churn"
    assert "favorite" not in found.states
    named = [found.states[code] for code in found.state]
    assert list(zip(found.clients[found.client()].tolist(), named, strict=True)) == [
        (2, "churn"), (4, "view"), (4, "view"),
    ]  # fmt: skip
    assert found.at[1] == moment.value // 1000


def test_no_rows_are_no_sequences():
    table = pa.table(
        {
            "client_id": pa.array([], pa.int64()),
            "steps": pa.array([], pa.list_(pa.string())),
            "times": pa.array([], pa.list_(pa.timestamp("us", "UTC"))),
        }
    )

    assert len(reading.of_rows(table, states.state_of()).clients) == 0


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("return", "has 'return'; expected step=state pairs"),
        ("=churn", "expected step=state pairs"),
        ("purchase=", "no step leads to purchase"),
        ("close=shut, complain=cry", "13 states, at most 12"),
        ("retrun=churn", "no source has the step 'retrun', only view, favorite"),
        ("return=churn;cancel=churn", "expected a state of small letters.* commas"),
        ("return=Churn", "has 'return=Churn'; expected a state of small letters"),
        ("view==view", "expected a state of small letters"),
    ],
)
def test_a_map_that_makes_no_sense_is_told(monkeypatch, written, complaint):
    monkeypatch.setenv(states.SETTING, written)
    monkeypatch.setattr(states, "MOST_STATES", 12)

    with pytest.raises(BadSetting, match=complaint):
        states.state_of()


def test_saying_what_is_so_anyway_changes_nothing(monkeypatch):
    usual = states.names(states.state_of())
    monkeypatch.setenv(states.SETTING, "view=view, purchase=purchase")

    assert states.names(states.state_of()) == usual


def test_every_step_that_the_shop_can_tell_of_can_be_mapped():
    assert set(CLIENT_EVENTS) <= set(states.STEPS)
    assert len(states.STEPS) < states.MOST_STATES


# Silence, labels ----------------------------------------------------------------------------------


def test_silences_are_counted_where_they_could_be_watched_to_their_end():
    found = events(
        (1, 0, VIEW), (1, 10, VIEW),  # came back after 10 days
        (2, 0, VIEW),  # never
        (3, 0, VIEW), (3, 20, VIEW),  # after 20
        (4, 80, VIEW),  # silent for 20 days so far
    )  # fmt: skip

    table = silence.came_back(found, 100 * DAY_US).set_index("days")

    # Of at least 7 days, watched for 14: those of 1, 2, 3 and 4; client 1 came back in the second
    # week; what 1 and 3 did after coming back is silence too.
    assert table.loc[7, ["silent", "back"]].tolist() == [6, 1]
    assert table.loc[14, ["silent", "back"]].tolist() == [4, 1]
    assert table.loc[45, ["silent", "back"]].tolist() == [2, 0]
    assert table.loc[60, "silent"] == 0


def test_who_comes_back_at_the_end_of_as_many_days_again_has_not_come_back():
    table = silence.came_back(events((1, 0, VIEW), (1, 14, VIEW), (2, 0, VIEW)), 14 * DAY_US)

    assert table.set_index("days").loc[7, ["silent", "back"]].tolist() == [2, 0]


def test_the_shortest_silence_after_which_few_come_back_is_chosen():
    table = pd.DataFrame(
        {"days": [7, 14, 21, 30], "silent": [900, 700, 49, 500], "share": [0.5, 0.21, 0.1, 0.2]}
    )

    assert silence.chosen(table) == 30
    assert silence.chosen(table.assign(share=0.5)) == silence.SILENCES[-1]


def test_labels_see_the_window_after_the_moment_and_nothing_else():
    found = with_churn(
        events(
            (1, 0, VIEW), (1, 10, PURCHASE), (1, 39, VIEW),
            (2, 9, VIEW), (2, 40, PURCHASE),
            (3, 8, PURCHASE),
            (4, 10, VIEW),
            (5, -15, VIEW), (5, 12, PURCHASE),
        ),
        20 * DAY_US,
        70 * DAY_US,
    )  # fmt: skip

    at = labels.marks(found, [10 * DAY_US], timedelta(days=30))

    assert found.clients[at.client].tolist() == [1, 2, 3, 5]  # 4 began at the moment itself
    assert at.purchase.tolist() == [1, 0, 0, 1]
    # 1 is silent from day 10 to 30, 2 from 9 to 29, 3 from 8 to 28; 5 is gone since day 5.
    np.testing.assert_array_equal(at.churn, [1, 1, 1, np.nan])


def test_what_was_published_stands_beside_what_came():
    day = date(2026, 3, 1)
    first = microseconds(day) / DAY_US
    published = pd.DataFrame(
        {"client_id": [1, 2, 3, 4], "score": [0.4, 0.3, 0.2, 0.1], "score_churn": [0.5] * 4}
    )
    found = events(
        (1, first - 3, VIEW), (1, first + 29.9, PURCHASE),
        (2, first - 29, VIEW), (2, first + 30, PURCHASE),
        (3, first - 30.5, VIEW),
    )  # fmt: skip

    both = labels.beside(published, found, day, 30)

    # 3 was gone by what is known now; the steps of 4 were all taken back.
    assert both["label"].tolist() == [1, 0, 0, 0]
    np.testing.assert_array_equal(both["label_churn"], [1, 1, np.nan, np.nan])
    assert both["score"].tolist() == [0.4, 0.3, 0.2, 0.1]


# Features -----------------------------------------------------------------------------------------


def test_features_of_an_event_are_those_of_its_past():
    found = events((1, 0.5, VIEW), (1, 1, PURCHASE), (1, 1.25, CART), (1, 3, VIEW), (2, 7, CART))

    rows = features.of_events(found)

    assert rows["last_1"].tolist() == [4, VIEW, PURCHASE, CART, 4]
    assert rows["last_3"].tolist() == [4, 4, 4, VIEW, 4]
    assert rows["count_purchase"].tolist() == [0, 0, 1, 1, 0]
    assert rows["events"].tolist() == [0, 1, 2, 3, 0]
    assert rows["session_events"].tolist() == [0, 1, 1, 1, 0]
    np.testing.assert_array_equal(rows["gap_hours"], [np.nan, np.nan, 12, 6, np.nan])
    assert rows["hour"].tolist() == [-1, 12, 0, 6, -1]
    np.testing.assert_array_equal(rows["days_since_purchase"], [np.nan, np.nan, 0, 0.25, np.nan])
    after = features.of_ends(found)
    assert after["last_1"].tolist() == [VIEW, CART]
    assert after["count_view"].tolist() == [2, 0]
    assert after["days_known"].tolist() == [2.5, 0]


def test_features_of_a_client_count_the_days_before_the_moment():
    found = events(
        (1, 0, VIEW), (1, 60, CART), (1, 95, VIEW), (1, 95.01, VIEW), (1, 98, PURCHASE),
        (2, 1, VIEW),
    )  # fmt: skip

    rows = features.of_clients(found, 100 * DAY_US)

    assert rows["count_view"].tolist() == [3, 1]
    assert rows["count_view_7d"].tolist() == [2, 0]
    assert rows["count_cart_90d"].tolist() == [1, 0]
    assert rows["days_since_purchase"].tolist()[0] == 2
    assert np.isnan(rows["days_since_purchase"][1])
    assert rows["days_since_event"].tolist() == [2, 99]
    assert rows["sessions_30d"].tolist() == [2, 0]
    assert rows["days_active_30d"].tolist() == [2, 0]


def test_the_first_day_that_is_counted_counts_whole_and_a_churn_is_nothing_done():
    moment = 100 * DAY_US
    found = with_churn(
        events((1, 70, CART), (1, 93, VIEW), (2, 60, VIEW), (2, 65, CART)), 30 * DAY_US, moment
    )

    rows = features.of_clients(found, moment)

    assert rows["count_view_7d"].tolist() == [1, 0]
    assert rows["count_cart_30d"].tolist() == [1, 0]
    assert rows["days_known"].tolist() == [30, 40]
    # Client 2 is gone from day 95 on, which is no visit.
    assert rows["count_churn_7d"].tolist() == [0, 1]
    assert rows["days_since_event"].tolist() == [7, 35]
    assert rows["sessions_30d"].tolist() == [2, 0]
    assert rows["days_active_30d"].tolist() == [2, 0]


def test_nothing_that_comes_later_changes_a_feature():
    found = behavior_worlds.draw(2, clients=200, events=15, order=2)
    moment = int(np.quantile(found.at, 0.5))
    before = found.between(0, moment)

    all_of_them = features.of_events(found, found.at < moment)
    then = features.of_events(before)

    pd.testing.assert_frame_equal(all_of_them, then)


# Waiting ------------------------------------------------------------------------------------------


def test_who_waits_long_is_rather_gone():
    found = behavior_worlds.draw(3, clients=500, events=20)
    waits = waiting.learn(found)
    chances = np.full((3, 5), 0.2)
    silent = np.array([0, 5 * DAY_US, 29 * DAY_US])

    after = waiting.after_silence(waits, chances, silent, np.zeros(3, bool))

    assert np.allclose(after.sum(axis=1), 1)
    assert after[0, -1] == pytest.approx(0.2)
    assert after[1, -1] > 0.4
    assert after[2, -1] > 0.95


def test_of_a_client_who_is_gone_no_silence_says_more():
    waits = waiting.learn(behavior_worlds.draw(3, clients=500, events=20))
    chances = np.array([[0.1, 0.2, 0.3, 0.3, 0.1]] * 2)

    after = waiting.after_silence(
        waits, chances, np.array([5 * DAY_US] * 2), np.array([True, False])
    )

    assert np.allclose(after[0], chances[0])
    assert after[1, -1] > 0.2


def test_the_way_back_from_a_churn_is_no_wait():
    lived = events((1, 0, VIEW), (1, 1, CART), (2, 0, VIEW), (2, 2, VIEW))
    back = events((1, 0, VIEW), (1, 1, CART), (1, 41, VIEW), (2, 0, VIEW), (2, 2, VIEW))

    waits = waiting.learn(with_churn(back, 30 * DAY_US, 41 * DAY_US))

    np.testing.assert_array_equal(waits.longer, waiting.learn(lived).longer)


def test_chances_after_a_silence_are_those_that_come_true():
    found = behavior_worlds.draw(4, clients=4_000, events=12)
    waits = waiting.learn(found)
    second = found.place() == 1
    waited, came = found.waited()[second], found.state[second]
    silent = 2 * DAY_US
    still = waited > silent
    share = np.bincount(came, minlength=5) / len(came)

    after = waiting.after_silence(waits, share[None], np.array([silent]), np.zeros(1, bool))[0]

    assert still.sum() > 300
    assert np.abs(after - np.bincount(came[still], minlength=5) / still.sum()).max() < 0.06


# Blend --------------------------------------------------------------------------------------------


def test_the_blend_is_more_likely_than_any_of_its_models():
    random = np.random.default_rng(1)
    either = random.random(4_000) < 0.7
    truth = {"one": np.where(either, 0.8, 0.1), "other": np.where(either, 0.2, 0.6)}

    share = blend.weights(truth)

    mixed = blend.mixed(truth, share)
    assert sum(share.values()) == pytest.approx(1)
    losses = {name: -np.log(each).mean() for name, each in truth.items()}
    assert -np.log(mixed).mean() < min(losses.values()) - 0.01
    grid = [
        -np.log(weight * truth["one"] + (1 - weight) * truth["other"]).mean()
        for weight in np.linspace(0, 1, 101)
    ]
    assert -np.log(mixed).mean() == pytest.approx(min(grid), abs=1e-4)


def test_a_model_that_adds_nothing_is_left_out_of_the_blend():
    truth = {"good": np.full(500, 0.6), "bad": np.full(500, 0.3)}

    assert blend.weights(truth) == {"good": 1.0}


# Training -----------------------------------------------------------------------------------------


def test_of_a_large_shop_every_day_and_every_client_is_learned_from():
    at = np.arange(1_000, dtype=np.int64) * DAY_US // 10
    kept = np.arange(1_000) % 4 > 0

    chosen = training._newest(kept, at, 60 * DAY_US, 100)

    assert chosen.sum() == 100
    assert not chosen[~kept].any()
    assert np.unique(at[chosen] // DAY_US).tolist() == list(range(60, 100))
    few = training._newest(kept, at, 95 * DAY_US, 100)
    assert np.flatnonzero(few).tolist() == np.flatnonzero(kept)[-100:].tolist()
    assert training._spread(np.arange(10, 20), 4).tolist() == [10, 13, 16, 19]
    assert training._spread(np.arange(3), 4).tolist() == [0, 1, 2]


@pytest.mark.parametrize(("held", "who"), [(True, "to learn from"), (False, "held out")])
def test_buyers_on_one_side_alone_are_nothing_to_learn_from(held, who):
    end = date(2026, 3, 1)
    day = microseconds(end) / DAY_US
    clients = np.arange(200)
    buyers = clients[(percent(clients) < training.HELD_PERCENT) == held][:5]
    found = events(
        *[(client, day - 100 + step, VIEW) for client in clients for step in range(0, 60, 5)],
        *[(client, day - 20, VIEW) for client in clients[::3]],
        *[(client, day - 10, PURCHASE) for client in buyers],
    )
    past = training.Past(with_churn(found, 30 * DAY_US, microseconds(end)), end, 30)

    with pytest.raises(NothingToLearnFrom, match=f"purchase has a single value .* {who}"):
        training.fit_all(past)


@pytest.fixture(scope="module")
def quick():
    """Train a small past quickly: a network as it is drawn, few trees."""

    def drawn(found: Sequences, *_: object) -> lstm.Lstm:
        random = np.random.default_rng(1)
        return lstm.Lstm(found.states, lstm_training._drawn(random, len(found.states)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lstm_training, "fit", drawn)
        patch.setitem(tabular.TREES, "iterations", 10)
        yield


@pytest.fixture(scope="module")
def past() -> training.Past:
    end = date(2024, 2, 10)
    whole = behavior_worlds.draw(5, clients=400, events=60, order=2)
    return training.Past(whole.between(0, microseconds(end)), end, 30)


@pytest.fixture(scope="module")
def trained(quick, past) -> training.Trained:
    return training.fit_all(past)


def turned(past: training.Past, clients: np.ndarray) -> training.Past:
    """Return the past with views and carts of some clients exchanged, purchases before others."""
    found, those = past.found, clients[past.found.client()]
    state = np.where(those & (found.state < 2), 1 - found.state, found.state).astype(np.int8)
    return replace(past, found=replace(found, state=state))


def test_held_out_clients_choose_and_nobody_else_and_are_not_learned_from(past, trained):
    held = percent(past.found.clients) < training.HELD_PERCENT
    of_held, of_others = turned(past, held), turned(past, ~held)

    again = training.fit_all(of_held)

    one, two = trained.fitted["model"], again.fitted["model"]
    assert all(map(np.array_equal, one.chain.counts, two.chain.counts))
    assert (one.rates, one.before) == (two.rates, two.before)
    moment = past.moments()[0]
    standing = [Standing(each, past.found.between(0, moment), moment) for each in (one, two)]
    for head in labels.HEADS:
        told = [model.head_chances(each, head, OF_HEADS) for each in standing]
        assert all((told[0][name] == told[1][name]).all() for name in OF_HEADS), head
        chain = model.head_chances(standing[0], head, ["chain"])["chain"]
        assert (chain[standing[0].found.ends() == one.states.index(head)] > 0.99).all()
    told = [dict(model.next_chances(each, past.found, None, NEXT)) for each in (one, two)]
    assert all((told[0][name] == told[1][name]).all() for name in NEXT)
    assert not trained.selection["held_log_loss"].equals(again.selection["held_log_loss"])
    known = labels.marks(of_others.found, past.moments())
    compared = training._compared(one, of_others, known, held)
    pd.testing.assert_frame_equal(compared.selection, trained.selection)
    assert (compared.blends, compared.maps) == (trained.blends, trained.maps)
    for task, share in one.serves.items():
        rows = trained.selection[trained.selection["task"] == task].set_index("candidate")
        best = rows["held_log_loss"].idxmin()
        assert share == (trained.blends[task] if best == "blend" else {best: 1.0})


def test_a_clients_row_says_what_the_model_says(past, trained):
    maps = {"purchase": Calibration(0.5, 1.0), "churn": Calibration(2.0, -1.0)}
    fitted, found = replace(trained.fitted["model"], maps=maps), past.found
    moment = microseconds(past.end)
    standing = Standing(fitted, found, moment)

    rows = scores.of_clients(fitted, found, moment).to_pylist()

    assert [row["client_id"] for row in rows] == found.clients.tolist()
    comes = model.what_comes(standing)
    for client, (row, chances) in enumerate(zip(rows, comes, strict=True)):
        last = found.starts[client + 1] - 1
        assert row["current_state"] == found.states[found.state[last]]
        assert pd.Timestamp(row["since"]).value // 1000 == found.at[last]
        told = dict(zip(row["next_states"], row["next_probabilities"], strict=True))
        assert told == pytest.approx(dict(zip(found.states, chances, strict=True)), abs=1e-6)
        assert row["next_probabilities"] == sorted(row["next_probabilities"], reverse=True)
    gone = found.ends() == len(found.states) - 1
    for head, known in (("purchase", np.ones(len(gone), bool)), ("churn", ~gone)):
        names = sorted(fitted.serves[head])
        mixed = blend.mixed(model.head_chances(standing, head, names), fitted.serves[head])
        odds = maps[head].intercept + maps[head].slope * np.log(mixed / (1 - mixed))
        chance = [row[f"{head}_probability"] for row in rows]
        assert [each is not None for each in chance] == known.tolist()
        expected = 1 / (1 + np.exp(-odds[known]))
        said = [each for each in chance if each is not None]
        assert said == pytest.approx(expected.tolist(), abs=1e-6)
