"""From chances to a yes or no: each aim against all thresholds there are, and what is promised."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from jobs import evaluation
from jobs.client_scores.threshold import (
    LEAST_CLIENTS,
    NOBODY,
    Aim,
    Threshold,
    aim_of,
    choose,
    of_kept,
    says_yes,
)
from jobs.settings import BadSetting

SETTING = "NIGHTSHIFT_TOY_AIM"
TOLD = Threshold("precision 0.2", 0.3, None, 0.25, 0.2, 0.3, 0.5, 0.4, 0.6, 1 / 3)


def drawn(rows: int = 600, seed: int = 3, digits: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and the chances that they were drawn with."""
    random = np.random.default_rng(seed)
    chance = np.round(random.beta(1, 9, rows), digits)
    return (random.random(rows) < chance).astype(int), chance


def chosen(aim: Aim, labels: np.ndarray, chance: np.ndarray, **known: int) -> Threshold:
    return choose(aim, chance, labels, np.arange(len(labels)), resamples=20, **known)


# Each aim -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [9, 2])
@pytest.mark.parametrize("least", [0.12, 0.2, 0.3])
def test_a_precision_aim_names_the_most_clients_of_whom_enough_are_right(least, digits):
    named = []
    for seed in range(10):
        labels, chance = drawn(seed=seed, digits=digits)
        tried = [chance >= limit for limit in np.unique(chance)]
        right = [yes for yes in tried if yes.sum() >= LEAST_CLIENTS and labels[yes].mean() >= least]
        most = max(right, key=np.sum, default=np.zeros(len(labels), dtype=bool))

        threshold = chosen(Aim("precision", (least,)), labels, chance)

        assert (says_yes(threshold, chance) == most).all()
        assert threshold.budget is None
        named.append(most.sum())
    assert max(named) > LEAST_CLIENTS


@pytest.mark.parametrize("digits", [9, 2])
@pytest.mark.parametrize("worth", [(10.0, 1.0), (4.0, 1.0), (3.0, 0.5)])
def test_a_value_aim_names_those_who_are_worth_most(worth, digits):
    gain, cost = worth
    for seed in range(10):
        labels, chance = drawn(seed=seed, digits=digits)
        tried = [chance >= limit for limit in np.unique(chance)]
        best = max(gain * labels[yes].sum() - cost * yes.sum() for yes in tried)

        yes = says_yes(chosen(Aim("value", worth), labels, chance), chance)

        assert gain * labels[yes].sum() - cost * yes.sum() == pytest.approx(max(best, 0))
        assert 0 < yes.sum() < len(labels)


@pytest.mark.parametrize("budget", [1, 7, 60, 600])
def test_a_clients_aim_names_so_many_with_the_highest_chances(budget):
    labels, chance = drawn()

    threshold = chosen(Aim("clients", (float(budget),)), labels, chance)

    yes = says_yes(threshold, chance)
    assert yes.sum() == threshold.budget == budget
    assert chance[yes].min() >= chance[~yes].max(initial=0)
    assert (chance >= threshold.threshold).sum() == budget


def test_a_budget_of_a_day_is_the_same_share_of_the_rows_that_it_is_promised_on():
    labels, chance = drawn(600)

    threshold = chosen(Aim("clients", (500.0,)), labels, chance, known=3_000)

    assert (chance >= threshold.threshold).sum() == 100
    assert threshold.budget == 500
    named = chance >= np.sort(chance)[-100]
    assert threshold.precision == pytest.approx(labels[named].mean())
    assert threshold.recall == pytest.approx(labels[named].sum() / labels.sum())


def test_a_budget_beyond_all_clients_names_everybody():
    labels, chance = drawn(50)

    threshold = chosen(Aim("clients", (80.0,)), labels, chance)

    assert says_yes(threshold, chance).all()
    assert (chance >= threshold.threshold).all()


@pytest.mark.parametrize("budget", [1, 2, 3, 4])
def test_of_equal_chances_a_budget_takes_the_first_and_exactly_so_many(budget):
    chance = [0.2, 0.5, 0.2, 0.2, 0.1]
    threshold = chosen(Aim("clients", (float(budget),)), np.array([0, 1, 0, 1, 0]), chance)

    yes = says_yes(threshold, chance)

    assert np.flatnonzero(yes).tolist() == sorted([1, 0, 2, 3][:budget])


def test_equal_chances_are_named_together_though_some_of_them_would_do():
    labels = np.array([1] * 20 + [1, 0, 0, 0, 0] + [0] * 10)
    chance = np.array([0.9] * 20 + [0.5] * 5 + [0.1] * 10)

    just = chosen(Aim("precision", (21 / 25,)), labels, chance)
    more = chosen(Aim("precision", (21 / 25 + 0.01,)), labels, chance)

    # The first of the five alone would make it 21 of 21.
    assert says_yes(just, chance).sum() == 25
    assert says_yes(more, chance).sum() == 20


def test_a_precision_seen_on_few_clients_is_not_believed():
    labels, chance = np.array([1] * 19 + [0] * 81), np.linspace(0.9, 0.1, 100)

    named = [
        says_yes(chosen(Aim("precision", (least,)), labels, chance), chance).sum()
        for least in (0.95, 0.96)
    ]

    assert named == [20, 0]


@pytest.mark.parametrize(
    "aim", [Aim("precision", (0.999,)), Aim("value", (1.001, 1.0))], ids=["precision", "value"]
)
def test_an_aim_out_of_reach_names_nobody(aim):
    labels, chance = drawn()
    labels[chance.argsort()[-30:]] = 0

    threshold = chosen(aim, labels, chance)

    assert threshold.threshold == NOBODY
    assert not says_yes(threshold, chance).any()
    assert np.isnan([threshold.precision, threshold.precision_low, threshold.precision_high]).all()
    assert (threshold.recall, threshold.recall_high, threshold.f1) == (0, 0, 0)


def test_the_threshold_lies_between_two_chances_so_that_rounding_names_the_same():
    labels, chance = drawn()

    threshold = chosen(Aim("precision", (0.2,)), labels, chance).threshold

    rounded = chance.astype(np.float32).astype(float)
    assert ((rounded >= threshold) == (chance >= threshold)).all()
    assert np.abs(chance - threshold).min() > 1e-7


# What is promised ---------------------------------------------------------------------------------


def test_what_is_promised_is_a_plain_count():
    labels, chance = drawn()

    threshold = chosen(Aim("precision", (0.2,)), labels, chance)

    yes = chance >= threshold.threshold
    right = (labels[yes] == 1).sum()
    assert threshold.precision == pytest.approx(right / yes.sum())
    assert threshold.recall == pytest.approx(right / labels.sum())
    assert threshold.f1 == pytest.approx(2 * right / (yes.sum() + labels.sum()))
    assert threshold.precision_low < threshold.precision < threshold.precision_high
    assert threshold.recall_low < threshold.recall < threshold.recall_high
    assert threshold.aim == "precision 0.2"


def test_a_promise_rests_on_clients_and_not_on_their_rows():
    labels, chance = (np.repeat(each, 4) for each in drawn())
    aim = Aim("clients", (300.0,))

    apart, together = (
        choose(aim, chance, labels, clients)
        for clients in (np.arange(2_400), np.repeat(np.arange(600), 4))
    )

    for name in ("precision", "recall"):
        width = [
            getattr(found, f"{name}_high") - getattr(found, f"{name}_low")
            for found in (apart, together)
        ]
        assert width[1] == pytest.approx(2 * width[0], rel=0.2), name


@pytest.mark.parametrize("aim", [Aim("clients", (150.0,)), Aim("value", (5.0, 1.0))], ids=str)
def test_the_promised_intervals_hold_what_the_threshold_is_truly_worth(aim):
    random = np.random.default_rng(4)
    chance = random.beta(1, 9, 1_500)
    held = []
    for _ in range(200):
        labels = (random.random(1_500) < chance).astype(int)
        threshold = choose(aim, chance, labels, np.arange(1_500), resamples=100)
        named = chance >= threshold.threshold
        truth = {
            "precision": chance[named].mean(),
            "recall": chance[named].sum() / chance.sum(),
        }
        kept = threshold.kept()
        held += [
            kept[f"{name}_low"] <= value <= kept[f"{name}_high"] for name, value in truth.items()
        ]

    assert 0.9 < np.mean(held) <= 1


@pytest.mark.parametrize(
    "told",
    [TOLD, replace(TOLD, budget=50), replace(TOLD, precision=np.nan, precision_low=np.nan)],
    ids=["precision", "budget", "nobody"],
)
def test_what_is_kept_comes_back_through_json(told):
    kept = json.loads(json.dumps(told.kept(), allow_nan=False))

    back = of_kept(kept)

    np.testing.assert_equal(asdict(back), asdict(told))
    assert back.budget is None or isinstance(back.budget, int)


# The setting --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "aim"),
    [
        ("precision 0.2", Aim("precision", (0.2,))),
        ("clients 50", Aim("clients", (50.0,))),
        ("value 10 0.5", Aim("value", (10.0, 0.5))),
    ],
)
def test_an_aim_is_read_from_the_setting_as_it_is_written(monkeypatch, written, aim):
    monkeypatch.setenv(SETTING, written)

    found = aim_of("toy", "precision 0.9")

    assert found == aim
    assert str(found) == written


def test_without_the_setting_the_jobs_own_aim_holds(monkeypatch):
    monkeypatch.delenv(SETTING, raising=False)

    assert aim_of("toy", "precision 0.9") == Aim("precision", (0.9,))


@pytest.mark.parametrize(
    "written",
    [
        *("precision", "precision 0", "precision 1", "precision 20", "precision 0.2 0.3"),
        *("precision nan", "precision high", "clients 0", "clients 2.5", "clients -3"),
        *(
            "clients inf",
            "clients 1e19",
            "value 1",
            "value 1 2",
            "value 1 1",
            "value 5 0",
            "value inf 1",
        ),
        *("recall 0.5", "0.2", "   "),
    ],
)
def test_a_bad_aim_is_told_with_what_was_found_and_what_is_known(monkeypatch, written):
    monkeypatch.setenv(SETTING, written)

    with pytest.raises(BadSetting, match=f"{SETTING} is '{written}'; expected 'precision P'"):
        aim_of("toy", "precision 0.9")


# Yes or no ----------------------------------------------------------------------------------------


def test_figures_of_yeses_are_a_plain_count():
    labels = [1, 1, 1, 0, 0, 0, 0, 0]
    yes = [True, True, False, True, False, False, False, False]

    found = evaluation.yes_or_no(labels, yes, resamples=10)

    assert found["precision"].value == pytest.approx(2 / 3)
    assert found["recall"].value == pytest.approx(2 / 3)
    assert found["f1"].value == pytest.approx(2 * 2 / (3 + 3))
    assert list(found) == list(evaluation.YES_NO_METRICS)


def wilson(right: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of Wilson (1927)."""
    z, share = 1.96, right / of
    centre = (share + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z * np.sqrt(share * (1 - share) / of + z**2 / (4 * of**2)) / (1 + z**2 / of)
    return centre - half, centre + half


@pytest.mark.parametrize(("right", "named", "positives"), [(60, 200, 100), (20, 400, 160)])
def test_intervals_of_yeses_are_near_wilsons(right, named, positives):
    labels = np.array([1] * right + [0] * (named - right) + [1] * (positives - right) + [0] * 4_000)
    yes = np.arange(len(labels)) < named

    found = evaluation.yes_or_no(labels, yes, resamples=4_000)

    for name, of in (("precision", named), ("recall", positives)):
        ends = (found[name].low, found[name].high)
        assert ends == pytest.approx(wilson(right, of), abs=0.015), name


def test_clients_with_several_rows_are_drawn_together():
    labels, chance = drawn(500)
    labels, yes = np.repeat(labels, 4), np.repeat(chance > 0.1, 4)

    apart = evaluation.yes_or_no(labels, yes)
    together = evaluation.yes_or_no(labels, yes, np.repeat(np.arange(500), 4))

    for name in evaluation.YES_NO_METRICS:
        assert together[name].value == pytest.approx(apart[name].value)
        width = [found[name].high - found[name].low for found in (apart, together)]
        assert width[1] == pytest.approx(2 * width[0], rel=0.15), name


def test_rows_need_not_stand_by_client():
    labels, chance = drawn(500)
    labels, yes, clients = np.repeat(labels, 2), np.repeat(chance > 0.1, 2), np.arange(1_000) // 2
    mixed = np.random.default_rng(1).permutation(1_000)

    assert evaluation.yes_or_no(labels[mixed], yes[mixed], clients[mixed]) == (
        evaluation.yes_or_no(labels, yes, clients)
    )


def test_of_nobody_the_precision_is_unknown_and_the_recall_is_zero():
    found = evaluation.yes_or_no([1, 0, 1, 0], [False] * 4, resamples=20)

    assert np.isnan([found["precision"].value, found["precision"].low]).all()
    assert (found["recall"].value, found["f1"].value) == (0, 0)


def test_without_a_positive_the_precision_is_zero_and_the_recall_is_unknown():
    found = evaluation.yes_or_no([0, 0, 0], [True, False, False], resamples=20)

    assert (found["precision"].value, found["f1"].value) == (0, 0)
    assert np.isnan(found["recall"].value)


def test_a_precision_of_one_client_over_and_over_is_luck():
    labels, chance = drawn(rows=400, seed=3)
    who = np.arange(400) + 1_000
    often = np.argsort(-chance)[:LEAST_CLIENTS]
    labels[often] = 1
    aim = Aim("precision", (0.9,))

    of_many = choose(aim, chance, labels, who, resamples=20)
    who[often] = 7
    of_one = choose(aim, chance, labels, who, resamples=20)

    assert of_many.threshold < 1
    assert of_many.precision >= 0.9
    assert of_one.threshold == NOBODY


def test_a_budget_promises_for_as_many_as_it_names_of_equal_chances():
    labels = np.tile([1, 0, 0, 0, 0], 20)

    threshold = chosen(Aim("clients", (5.0,)), labels, np.full(100, 0.2))

    assert threshold.recall == pytest.approx(1 / 20)
    assert threshold.precision == pytest.approx(1 / 5)


@pytest.mark.parametrize("written", ["clients 1234567", "precision 0.1234567", "value 40 0.5"])
def test_an_aim_is_kept_as_it_is_written(monkeypatch, written):
    monkeypatch.setenv("NIGHTSHIFT_CLIENT_ENGAGEMENT_AIM", written)

    assert str(aim_of("client_engagement", "precision 0.2")) == written
