"""Chains of what clients do next, against chains that are known and values worked out by hand."""

import itertools
import zipfile
from dataclasses import replace

import behavior_worlds
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from jobs.client_behavior import markov, moves, sequences
from jobs.client_behavior.sequences import DAY_US, Sequences, build, with_churn

STATES = ("view", "purchase", "churn")
LETTERS = "vpc"


def told(*clients: str) -> Sequences:
    """Return clients whose events are letters of LETTERS, a day apart."""
    client = np.repeat(np.arange(len(clients)), [len(events) for events in clients])
    at = np.concatenate([np.arange(len(events)) for events in clients]) * DAY_US
    state = np.array([LETTERS.index(letter) for letter in "".join(clients)], np.int8)
    return build(STATES, client, at, state)


def every(fourth: int, sequences: Sequences) -> np.ndarray:
    return np.arange(len(sequences.clients)) % fourth == 0


def loss(chance: np.ndarray, sequences: Sequences) -> float:
    return float(-np.log(chance[np.arange(len(chance)), sequences.state]).mean())


def small_chain() -> tuple[markov.Chain, Sequences]:
    found = told("vp", "vv", "p")
    chain = markov.fit(found, np.array([True, False, False]))
    return replace(chain, strengths=(2.0, 2.0, 2.0), personal=(2.0, 1.0)), found


# Of vp, vv and p; half an event more of each state.
ORDER_0 = np.array([3.5, 2.5, 0.5]) / 6.5


@pytest.mark.parametrize(
    ("order", "first", "after_first_view"),
    [
        (0, ORDER_0, ORDER_0),
        (1, (np.array([2, 1, 0]) + 2 * ORDER_0) / 5, [0.519231, 0.442308, 0.038462]),
        (2, [0.646154, 0.341538, 0.012308], [0.509615, 0.471154, 0.019231]),
        (3, [0.658462, 0.336615, 0.004923], [0.504808, 0.485577, 0.009615]),
    ],
)
def test_chances_of_each_order_as_worked_out_by_hand(order, first, after_first_view):
    chain, found = small_chain()

    chance = markov.next_events(chain, found, order, personal=False)

    assert chance.dtype == np.float32
    assert chance[[0, 2, 4]] == pytest.approx(np.tile(first, (3, 1)), abs=1e-6)
    assert chance[[1, 3]] == pytest.approx(np.tile(after_first_view, (2, 1)), abs=1e-6)


def test_what_was_never_seen_has_the_chances_of_the_order_below():
    chain, _ = small_chain()
    told_later = told("vpv", "vvv")

    first, second, third = (
        markov.next_events(chain, told_later, order, personal=False) for order in (1, 2, 3)
    )

    # nothing came after a purchase, nor after two views
    assert first[2] == pytest.approx(ORDER_0, abs=1e-6)
    assert second[2] == pytest.approx(ORDER_0, abs=1e-6)
    assert second[5] == pytest.approx(first[5])
    assert third[5] == pytest.approx(first[5])
    assert first[5] == pytest.approx([0.519231, 0.442308, 0.038462], abs=1e-6)


def test_a_newer_event_is_told_from_an_older_one():
    found = told(*["vpc", "pvv"] * 30)
    chain = markov.fit(found, every(4, found))

    chance = markov.next_events(chain, told("vpc", "pvv"), 2, personal=False)

    assert chance[2, 2] > 0.9
    assert chance[5, 0] > 0.9


@pytest.mark.parametrize("order", range(markov.MAX_ORDER + 1))
@pytest.mark.parametrize("personal", [False, True])
def test_rows_sum_to_one_and_no_chance_is_zero(order, personal):
    found = behavior_worlds.draw(1, 100, 20, order=2, effects=0.3)
    chain = markov.fit(found, every(4, found))

    for chance in (
        markov.next_events(chain, found, order, personal),
        markov.after(chain, found, order, personal),
    ):
        assert chance.sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert chance.min() > 0
    for table in markov.chances(chain):
        assert table.sum(axis=1) == pytest.approx(1, abs=1e-12)


def test_strengths_and_blend_are_best_for_clients_held_out_when_learned_from_the_others():
    found = behavior_worlds.draw(2, 200, 20, order=1, effects=0.3)
    held = every(3, found)
    chain = markov.fit(found, held)
    flags = np.repeat(held, np.diff(found.starts))
    others, chosen_by = found.where(~flags), found.where(flags)
    learned = replace(markov.fit(others, every(3, others)), strengths=chain.strengths)

    def loss_with(order: int, **changed: object) -> float:
        personal = "personal" in changed
        return loss(
            markov.next_events(replace(learned, **changed), chosen_by, order, personal), chosen_by
        )

    for order in range(1, markov.MAX_ORDER + 1):
        below, above = chain.strengths[: order - 1], chain.strengths[order:]
        tried = [
            loss_with(order, strengths=(*below, strength, *above)) for strength in markov.STRENGTHS
        ]
        assert markov.STRENGTHS[int(np.argmin(tried))] == chain.strengths[order - 1]
    blends = list(itertools.product(markov.BLENDS, markov.BLENDS))
    tried = [loss_with(chain.order, personal=blend) for blend in blends]
    assert blends[int(np.argmin(tried))] == chain.personal


def test_the_chain_counts_every_client_once_strengths_are_chosen():
    found = told("vp", "vv", "p")

    chain = markov.fit(found, np.array([True, False, False]))

    assert chain.counts[0].tolist() == [[3, 2, 0]]
    assert chain.counts[1].tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0], [2, 1, 0]]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("seed", [3, 4, 5])
def test_the_planted_order_is_chosen_and_nearly_as_good_as_the_truth(order, seed):
    found = behavior_worlds.draw(seed, 800, 40, order)
    later = behavior_worlds.draw(seed + 100, 400, 40, order)

    chain = markov.fit(found, every(4, found))

    truth = loss(behavior_worlds.chances_of(later, order), later)
    lower, right = (
        loss(markov.next_events(chain, later, tried, personal=False), later)
        for tried in (order - 1, order)
    )
    assert chain.order == order
    assert abs(right - truth) < 0.01
    assert lower > right + 0.1


def test_a_gain_within_one_standard_error_keeps_the_smaller_order():
    events = np.array([10, 10, 10, 10])
    # per event: 1 and .98; the standard error of the better one is .045
    losses = np.array([[10, 8.4], [10, 10.4], [10, 11.2], [10, 9.2]])

    assert markov._order(losses, events) == 0
    assert markov._order(losses - [[0, 1]] * 4, events) == 1


def slow_blend(chain: markov.Chain, found: Sequences, order: int) -> np.ndarray:
    """Return the personal chances, one event after another."""
    chance = markov.next_events(chain, found, order, personal=False).astype(float)
    weak, strong = chain.personal
    rows = []
    for client in range(len(found.clients)):
        own = np.zeros(len(found.states))
        same = np.zeros((len(found.states) + 1, len(found.states)))
        before = found.start
        for event in range(found.starts[client], found.starts[client + 1]):
            blended = (own + weak * chance[event]) / (own.sum() + weak)
            rows.append((same[before] + strong * blended) / (same[before].sum() + strong))
            state = found.state[event]
            own[state] += 1
            same[before, state] += 1
            before = state
    return np.array(rows)


def test_the_clients_own_history_counts_as_one_event_after_another_says():
    found = behavior_worlds.draw(6, 60, 30, order=1, effects=0.3)
    chain = replace(markov.fit(found, every(4, found)), personal=(3.0, 2.0))

    chance = markov.next_events(chain, found, 2, personal=True)

    assert chance == pytest.approx(slow_blend(chain, found, 2), abs=1e-6)


@pytest.mark.parametrize("personal", [False, True])
def test_what_comes_next_is_what_would_be_predicted_at_one_event_more(personal):
    found = behavior_worlds.draw(7, 60, 20, order=2, effects=0.3)
    chain = replace(markov.fit(found, every(4, found)), personal=(3.0, 2.0))
    last = np.zeros(len(found.state), bool)
    last[found.starts[1:] - 1] = True
    shorter = found.where(~last)
    longer = np.isin(found.clients, shorter.clients)

    chance = markov.after(chain, shorter, 2, personal)

    expected = markov.next_events(chain, found, 2, personal, last)
    assert chance.tolist() == expected[longer].tolist()


def test_blending_is_better_where_clients_differ_and_no_better_where_they_do_not():
    gains = {}
    for effects in (None, 0.2):
        found = behavior_worlds.draw(8, 800, 40, 1, effects)
        later = behavior_worlds.draw(108, 400, 40, 1, effects)
        chain = markov.fit(found, every(4, found))
        gains[effects] = loss(markov.next_events(chain, later, 1, False), later) - loss(
            markov.next_events(chain, later, 1, True), later
        )

    assert gains[0.2] > 0.02
    assert abs(gains[None]) < 0.001


@pytest.mark.parametrize("personal", [False, True])
def test_what_happens_later_changes_no_earlier_chance(personal):
    found = behavior_worlds.draw(9, 60, 20, order=2, effects=0.3)
    chain = markov.fit(found, every(4, found))
    moment = int(np.median(found.at))
    early = found.at < moment
    changed = replace(found, state=np.where(early, found.state, 1).astype(np.int8))

    alone = markov.next_events(chain, found.where(early), 2, personal)

    assert 0 < early.sum() < len(early)
    for other in (found, changed):
        assert markov.next_events(chain, other, 2, personal, early).tolist() == alone.tolist()


def test_blocks_of_clients_change_nothing(monkeypatch):
    found = behavior_worlds.draw(10, 60, 20, order=2, effects=0.3)
    wanted = np.arange(len(found.state)) % 3 == 0

    def everything() -> tuple[markov.Chain, np.ndarray, np.ndarray, pd.DataFrame]:
        chain = markov.fit(found, every(4, found))
        chance = markov.next_events(chain, found, 2, True, wanted)
        return chain, chance, markov.after(chain, found, 2, True), moves.transitions(found)

    chain, chance, after, table = everything()
    monkeypatch.setattr(sequences, "BLOCK_EVENTS", 25)
    assert len(list(sequences.blocks(found))) > 20
    small_chain, small_chance, small_after, small_table = everything()

    assert (small_chain.strengths, small_chain.order) == (chain.strengths, chain.order)
    assert small_chain.personal == chain.personal
    assert all(map(np.array_equal, small_chain.counts, chain.counts))
    assert np.array_equal(small_chance, chance)
    assert np.array_equal(small_after, after)
    pd.testing.assert_frame_equal(small_table, table)


def test_events_at_one_time_come_in_one_order_whatever_the_order_of_rows():
    client, at = np.repeat([1, 2], 4), np.tile([5, 5, 5, 9], 2)
    state = np.array([0, 1, 1, 2, 1, 0, 0, 2], np.int8)
    found = build(STATES, client, at, state)
    chain = markov.fit(found, np.array([True, False]))

    for order in ([7, 6, 5, 4, 3, 2, 1, 0], [2, 5, 0, 7, 4, 1, 6, 3]):
        mixed = build(STATES, client[order], at[order], state[order])
        assert mixed.state.tolist() == [0, 1, 2, 0, 1, 2]
        for personal in (False, True):
            assert np.array_equal(
                markov.next_events(chain, mixed, 3, personal),
                markov.next_events(chain, found, 3, personal),
            )


def test_clients_with_one_event_each():
    found = told("v", "v", "p", "v")

    chain = markov.fit(found, every(2, found))

    chance = markov.next_events(chain, found, 3, personal=True)
    assert (chance == chance[0]).all()
    assert chance[0].argmax() == 0
    after = markov.after(chain, found, 1, personal=False)
    assert after == pytest.approx(np.tile(np.array([3.5, 1.5, 0.5]) / 5.5, (4, 1)))
    assert moves.transitions(found)["from_count"].tolist() == [0] * 4


def test_a_client_with_100_000_events_is_their_newest():
    random = np.random.default_rng(11)
    client = np.append(np.full(100_000, 1), [2, 2, 3])
    state = np.append(random.integers(0, 2, 100_000), [0, 1, 1]).astype(np.int8)
    found = build(STATES, client, np.arange(100_003), state)

    chain = markov.fit(found, np.array([True, False, False]))

    assert np.diff(found.starts).tolist() == [2000, 2, 1]
    assert chain.counts[0].sum() == 2003
    chance = markov.next_events(chain, found, 3, personal=True)
    assert chance == pytest.approx(slow_blend(chain, found, 3), abs=1e-6)


def test_nobody_gives_no_rows():
    chain, found = small_chain()
    nobody = found.where(np.zeros(5, bool))

    assert markov.next_events(chain, nobody, 2, True).shape == (0, 3)
    assert markov.after(chain, nobody, 2, True).shape == (0, 3)
    assert moves.transitions(nobody).empty


def test_a_chain_is_read_as_it_was_written_and_written_alike_each_time(tmp_path):
    chain, _ = small_chain()

    chain.save(tmp_path / "one.npz")
    read = markov.load(tmp_path / "one.npz")
    read.save(tmp_path / "two.npz")

    assert (read.states, read.strengths, read.order) == (STATES, (2.0, 2.0, 2.0), chain.order)
    assert read.personal == (2.0, 1.0)
    assert all(map(np.array_equal, read.counts, chain.counts))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    # nor does the clock get into it
    with zipfile.ZipFile(tmp_path / "one.npz") as file:
        assert {part.date_time for part in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    replace(chain, personal=None).save(tmp_path / "three.npz")
    assert markov.load(tmp_path / "three.npz").personal is None


def test_what_cannot_be_is_said():
    chain, found = small_chain()

    with pytest.raises(ValueError, match=r"knows the states .*'churn'.* are in .*'click'"):
        markov.next_events(chain, behavior_worlds.draw(1, 2, 2), 1, False)
    with pytest.raises(ValueError, match="order is 4; expected 0 to 3"):
        markov.after(chain, found, 4, False)
    with pytest.raises(ValueError, match="no personal blend"):
        markov.next_events(replace(chain, personal=None), found, 1, True)
    for held in (np.zeros(3, bool), np.ones(3, bool), np.array([True, False])):
        with pytest.raises(ValueError, match=f"{held.sum()} of {len(held)} flags .* of 3"):
            markov.fit(found, held)
    with pytest.raises(ValueError, match="'gone'"):
        moves.absorbing(np.eye(3), STATES, ("purchase", "gone"))


def test_transitions_as_worked_out_by_hand():
    table = moves.transitions(told("vvp", "vp", "ccc"), np.array([True, True, False]))

    assert list(zip(table["from_state"], table["to_state"], strict=True)) == [
        ("view", "view"),
        ("view", "purchase"),
        ("purchase", "view"),
        ("purchase", "purchase"),
    ]
    assert table["count"].tolist() == [1, 2, 0, 0]
    assert table["from_count"].tolist() == [3, 3, 0, 0]
    assert table["clients"].tolist() == [1, 2, 0, 0]
    assert table["probability"].tolist() == [1.5 / 4, 2.5 / 4, 0.5, 0.5]
    # variance 2/9 / 3**2 * 2/1, so 4.5 transitions; Student's t with 2 and with 1 degrees
    effective = 4.5 * (4.302653 / 12.706205) ** 2
    assert table["low"][0] == pytest.approx(
        stats.beta.ppf(0.025, effective / 3 + 0.5, effective * 2 / 3 + 0.5), rel=1e-4
    )
    assert table["high"][1] == pytest.approx(1 - table["low"][0])
    # nothing is known of what comes after a purchase
    assert table["low"][2] == pytest.approx(stats.beta.ppf(0.025, 0.5, 0.5))


@pytest.mark.parametrize("effects", [None, 0.2])
def test_probabilities_sum_to_one_within_intervals_no_narrower_than_the_count_allows(effects):
    table = moves.transitions(behavior_worlds.draw(12, 300, 20, 1, effects))

    sums = table.groupby("from_state")["probability"].sum()
    assert sums.to_numpy() == pytest.approx(1, abs=1e-12)
    assert table["low"].between(0, table["probability"]).all()
    assert table["high"].between(table["probability"], 1).all()
    hits, misses = table["count"] + 0.5, table["from_count"] - table["count"] + 0.5
    alone = stats.beta.ppf(0.975, hits, misses) - stats.beta.ppf(0.025, hits, misses)
    width = table["high"] - table["low"]
    assert (width >= alone - 1e-12).all()
    assert ((width / alone).median() > 1.1) == (effects is not None)


def test_one_client_says_nothing_of_others_however_long_they_go_on():
    table = moves.transitions(told("v" * 1500 + "p"))

    assert table["high"][1] > 0.9
    assert table["low"][0] < 0.1
    assert (table["low"] <= table["probability"]).all()
    assert (table["high"] >= table["probability"]).all()


def test_a_transition_that_is_always_made_is_known_by_the_number_of_clients():
    table = moves.transitions(told(*["vvvvvvvvvvv"] * 20))

    # of 20 independent ones 20 were made, not of 200
    few = (stats.t.ppf(0.975, 199) / stats.t.ppf(0.975, 19)) ** 2 * 20
    assert table["low"].tolist() == pytest.approx([stats.beta.ppf(0.025, few + 0.5, 0.5)])


def law_of_all(effects: float | None, events: int) -> np.ndarray:
    """Return what the shares of transitions tend to with more and more clients, shape (S, S)."""
    size = len(behavior_worlds.STATES)
    if effects is None:
        return behavior_worlds.planted(1)[:size]
    many = behavior_worlds.draw(999, 40_000, events, 1, effects)
    counts = np.zeros((size + 1, size))
    np.add.at(counts, (many.before(), many.state), 1)
    return counts[:size] / np.maximum(counts[:size].sum(axis=1, keepdims=True), 1)


@pytest.mark.parametrize("effects", [None, 0.2])
def test_intervals_hold_the_truth_in_95_of_100_worlds(effects):
    truth = law_of_all(effects, 20).ravel()
    held = []
    for seed in range(100):
        table = moves.transitions(behavior_worlds.draw(seed, 60, 20, 1, effects))
        assert len(table) == len(truth)
        inside = (table["low"] <= truth) & (truth <= table["high"])
        held.append(inside[table["count"] >= 20])

    assert len(pd.concat(held)) > 1000
    assert 0.92 <= pd.concat(held).mean() <= 0.98


def test_the_matrix_has_a_row_of_zeros_where_nothing_followed():
    found = moves.square(moves.transitions(told("vvp", "vp")), STATES)

    assert found.tolist() == [[0.375, 0.625, 0], [0, 0, 0], [0, 0, 0]]


def test_ways_to_a_purchase_as_worked_out_by_hand():
    # a view leads to a view, a purchase or churn; a click to a view
    found = moves.absorbing(
        np.array(
            [
                [0.5, 0.0, 0.375, 0.125],
                [1.0, 0.0, 0.0, 0.0],
                [0.9, 0.1, 0.0, 0.0],
                [0.0, 0.0, 0.0, 0.0],
            ]
        ),
        ("view", "click", "purchase", "churn"),
    )

    assert found["from_state"].tolist() == ["view", "click", "purchase", "churn"]
    assert found["purchase_before_churn"].tolist() == pytest.approx([0.75, 0.75, 1, 0])
    assert found["steps_to_purchase"].tolist() == pytest.approx([2, 3, 0, np.nan], nan_ok=True)
    assert found["steps_to_end"].tolist() == pytest.approx([2, 3, 0, 0])


def test_ways_to_a_purchase_are_those_that_simulated_clients_go():
    chances = behavior_worlds.planted(1)[:5]
    states = behavior_worlds.STATES
    purchase, churn = states.index("purchase"), states.index("churn")
    random, walkers = np.random.default_rng(13), 40_000

    found = moves.absorbing(chances, states).set_index("from_state")

    for code in (0, 1, 3):
        state, steps = np.full(walkers, code), np.zeros(walkers)
        while (going := (state != purchase) & (state != churn)).any():
            drawn = random.random(going.sum())[:, None] > chances.cumsum(axis=1)[state[going], :-1]
            state[going] = drawn.sum(axis=1)
            steps[going] += 1
        row = found.loc[states[code]]
        bought = state == purchase
        assert row["purchase_before_churn"] == pytest.approx(bought.mean(), abs=0.01)
        assert row["steps_to_purchase"] == pytest.approx(steps[bought].mean(), rel=0.02)
        assert row["steps_to_end"] == pytest.approx(steps.mean(), rel=0.02)


def test_there_is_no_way_to_a_purchase_where_none_leads_to_an_end():
    states = ("here", "there", "nowhere", "edge", "brink", "purchase", "churn")
    chances = np.zeros((7, 7))
    # two states in a circle, and one that nothing follows
    chances[0, 1] = chances[1, 0] = 1
    # one that may get into the circle, and one that leads to churn alone
    chances[3, [0, 5, 6]] = 0.5, 0.3, 0.2
    chances[4, 6] = 1

    found = moves.absorbing(chances, states)

    assert found.iloc[:3, 1:].isna().all().all()
    assert found.iloc[3, 1:].tolist() == pytest.approx([0.6, 1, 1])
    assert found.iloc[4, 1:].tolist() == pytest.approx([0, np.nan, 1], nan_ok=True)


def test_shares_in_the_long_run():
    back = np.array([[0.9, 0.1], [0.5, 0.5]])
    circle = np.array([[0.0, 1.0], [1.0, 0.0]])
    # whoever churned and never came back begins again, three in four with a view
    ending = np.array([[0.5, 0.5], [0.0, 0.0]])
    apart = np.eye(2)
    start = np.array([0.75, 0.25])

    assert moves.stationary(back, start) == pytest.approx([5 / 6, 1 / 6])
    assert moves.stationary(circle, start) == pytest.approx([0.5, 0.5])
    assert moves.stationary(ending, start) == pytest.approx([0.6, 0.4])
    assert moves.stationary(apart, start) == pytest.approx(start)


def test_shares_in_the_long_run_are_those_of_a_chain_that_goes_on():
    chances = behavior_worlds.planted(1)
    found = moves.stationary(chances[:5], chances[5])

    assert found.sum() == pytest.approx(1)
    assert found @ chances[:5] == pytest.approx(found, abs=1e-12)


def test_churn_goes_where_clients_went_who_came_back():
    shop = told("vv", "v")
    shop = replace(shop, at=np.array([0, 100, 0]) * DAY_US)
    found = with_churn(shop, 30 * DAY_US, 120 * DAY_US)

    table = moves.transitions(found).set_index(["from_state", "to_state"])

    assert table.loc[("churn", "view"), "count"] == 1
    assert table.loc[("churn", "view"), "from_count"] == 1
    assert table.loc[("view", "churn"), "count"] == 2
