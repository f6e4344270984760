"""The purchase score: its dataset on a real Postgres, its model on made clients."""

import hashlib
from collections.abc import Callable
from datetime import date, timedelta
from itertools import chain, pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta, gamma

from jobs import calibration, evaluation, pictures
from jobs.client_scores import linear
from jobs.client_scores.slices import Slices, labelled, split
from jobs.purchase_propensity import (
    baselines,
    bgnbd,
    explanation,
    features,
    labels,
    model,
    spend,
    training,
)
from jobs.settings import ROOT
from jobs.warehouse import read_sql

AS_OF = date(2026, 3, 1)
LATE = AS_OF + timedelta(days=90)
DATASET = "purchase_propensity/dataset.sql"


# The dataset -------------------------------------------------------------------------------------


def dataset(warehouse, as_of=AS_OF, known_by=LATE, horizon_days=90, shard=0, shards=1):
    return read_sql(
        warehouse,
        DATASET,
        as_of=as_of,
        horizon_days=horizon_days,
        known_by=known_by,
        shard=shard,
        shards=shards,
    ).set_index("client_id")


@pytest.fixture
def life(given) -> Callable[..., None]:
    """Return a function that gives a client a life, as of AS_OF, from the days they bought."""

    def insert(client_id: int, *days: date, first_seen: date | None = None, **columns) -> None:
        bought = sorted(days)
        gaps = [(after - before).days for before, after in pairwise(bought)]
        row = {
            "client_id": client_id,
            "valid_from": min([*bought, first_seen or AS_OF]) + timedelta(days=1),
            "first_seen_day": first_seen or bought[0],
            "first_purchase_day": bought[0] if bought else None,
            "last_purchase_day": bought[-1] if bought else None,
            "purchase_days": len(bought),
            "lines": len(bought),
            "quantity": len(bought),
            "spent": 10 * len(bought),
            "price_sum": 10 * len(bought),
            "gap_days": sum(gaps),
            "gap_days_squared": sum(gap**2 for gap in gaps),
            "max_gap": max(gaps, default=0),
        }
        given("feature.client_life", **(row | columns))

    return insert


@pytest.fixture
def bought(given) -> Callable[..., None]:
    """Return a function that gives a client one purchase of one piece for 10 on a day."""

    def insert(client_id: int, day: date, **columns) -> None:
        row = {
            "client_id": client_id,
            "event_day": day,
            "known_from": day + timedelta(days=1),
            "lines": 1,
            "quantity": 1,
            "spent": 10,
            "price_sum": 10,
            "min_price": 10,
            "max_price": 10,
            "categories": [],
            "tied_lines": 0,
            "tied_channels": [],
            "tied_campaigns": [],
        }
        given("feature.purchase_day", **(row | columns))

    return insert


@pytest.fixture
def messaged(given) -> Callable[..., None]:
    """Return a function that gives a client one sent message by email on a day."""

    def insert(client_id: int, day: date, **columns) -> None:
        events = ("sends", "opens", "clicks", "purchases", "closes", "unsubscribes", "complaints")
        row = {
            "client_id": client_id,
            "event_day": day,
            "channel": "email",
            "known_from": day + timedelta(days=1),
            **dict.fromkeys((*events, "hard_bounces", "soft_bounces"), 0),
            "sends": 1,
        }
        given("feature.message_day", **(row | columns))

    return insert


def test_a_purchase_at_midnight_of_as_of_is_a_label_and_not_a_feature(warehouse, life, bought):
    before = AS_OF - timedelta(days=1)
    life(1, before)
    bought(1, before)
    bought(1, AS_OF, spent=99)

    rows = dataset(warehouse)

    assert rows.loc[1, "spent_7d"] == 10
    assert rows.loc[1, "days_since_purchase"] == 1
    assert rows.loc[1, "bought"] == 1
    assert rows.loc[1, "spent_next"] == 99


def test_the_label_window_ends_before_the_90th_day(warehouse, life, bought):
    for client in (1, 2):
        life(client, AS_OF - timedelta(days=5))
    bought(1, AS_OF + timedelta(days=89))
    bought(2, AS_OF + timedelta(days=90))

    rows = dataset(warehouse, known_by=AS_OF + timedelta(days=100))

    assert rows["bought"].to_dict() == {1: 1, 2: 0}


def test_a_label_is_null_until_its_window_is_complete(warehouse, life, bought):
    life(1, AS_OF - timedelta(days=5))
    bought(1, AS_OF + timedelta(days=1))

    early = dataset(warehouse, known_by=LATE - timedelta(days=1))

    assert early["bought"].isna().all()
    assert early["spent_next"].isna().all()
    assert dataset(warehouse, known_by=LATE)["bought"].tolist() == [1]


def test_features_do_not_see_a_row_that_came_late_or_was_taken_back(warehouse, life, bought):
    day = AS_OF - timedelta(days=10)
    life(1, day)
    bought(1, day, known_to=AS_OF)  # taken back on AS_OF
    bought(1, day - timedelta(days=1), known_from=AS_OF + timedelta(days=1))

    assert dataset(warehouse)["spent_30d"].isna().tolist() == [True]
    assert dataset(warehouse, as_of=AS_OF - timedelta(days=1))["spent_30d"].tolist() == [10]


def test_labels_see_late_rows_known_by_the_training_day_only(warehouse, life, bought):
    life(1, AS_OF - timedelta(days=5))
    bought(1, AS_OF + timedelta(days=3), known_from=LATE + timedelta(days=4))

    assert dataset(warehouse, known_by=LATE + timedelta(days=3))["bought"].tolist() == [0]
    assert dataset(warehouse, known_by=LATE + timedelta(days=4))["bought"].tolist() == [1]


def test_the_owners_label_goes_before_the_computed_one_where_there_is_one(
    warehouse, life, bought, given
):
    for client in (1, 2):
        life(client, AS_OF - timedelta(days=5))
    bought(1, AS_OF + timedelta(days=3))
    bought(2, AS_OF + timedelta(days=3))
    given("raw.apparel_target_binary", as_of=AS_OF, client_id=1, target=0)

    assert dataset(warehouse)["bought"].to_dict() == {1: 0, 2: 1}


def test_a_client_who_was_only_messaged_is_there(warehouse, life, messaged):
    sent = AS_OF - timedelta(days=20)
    life(1, first_seen=sent)
    messaged(1, sent, opens=1)

    row = dataset(warehouse).loc[1]

    assert row["seen_days"] == 20
    assert pd.isna(row["purchase_days"])
    assert (row["sends_30d"], row["opens_email_90d"], row["days_since_open"]) == (1, 1, 20)
    never = ["days_since_click", "gap_mean", "gap_spread", "gap_max", "price_usual", "spent"]
    assert row[never].isna().all()
    assert row["bought"] == 0


def test_windows_gaps_prices_and_ties_are_those_worked_out_by_hand(warehouse, life, bought):
    days = [AS_OF - timedelta(days=back) for back in (100, 40, 10)]
    life(1, *days, lines=4, spent=80, price_sum=80)
    bought(1, days[0], lines=2, quantity=2, spent=50, price_sum=50, min_price=20, max_price=30)
    bought(1, days[1], spent=20, price_sum=20, categories=["7", "9"])
    bought(
        1,
        days[2],
        categories=["7"],
        tied_lines=1,
        tied_channels=["email"],
        tied_campaigns=[5],
    )

    row = dataset(warehouse).loc[1]

    assert (row["gap_mean"], row["gap_spread"], row["gap_max"]) == (45, 15, 60)
    assert [row[f"purchase_days_{w}d"] for w in (30, 90, 180)] == [1, 2, 3]
    assert (row["spent_90d"], row["last_spent"], row["price_usual"]) == (30, 10, 20)
    assert (row["discount_last"], row["discount_90d"]) == (0.5, 0.25)
    assert (row["price_min_365d"], row["price_max_365d"]) == (10, 30)
    assert row["categories"].tolist() == ["7", "9", "7"]
    assert (row["category_breadth_365d"], row["tied_campaigns_365d"]) == (2, 1)
    assert (row["tied_share_365d"], row["tied_email_share_365d"]) == (0.25, 0.25)
    assert row["tied_sms_share_365d"] == 0


def test_shards_hold_every_client_once(warehouse, life):
    for client in range(1, 41):
        life(client, AS_OF - timedelta(days=client))

    parts = [dataset(warehouse, shard=shard, shards=3).index.tolist() for shard in range(3)]

    assert sorted(chain(*parts)) == list(range(1, 41))
    assert all(parts)


def test_the_dataset_delivers_what_the_model_reads(warehouse, life):
    life(1, AS_OF - timedelta(days=5))

    rows = dataset(warehouse)

    delivered = set(rows.columns) - {"categories", "bought", "spent_next"}
    assert delivered == set(features.COLUMNS)
    values = explanation.features(base_rate(), rows.reset_index())
    assert list(values) == list(features.FEATURES)


def test_no_client_gives_no_row_and_no_score(warehouse):
    rows = dataset(warehouse).reset_index()

    assert len(model.score(base_rate(), rows)) == 0
    assert explanation.explain(base_rate(), rows).num_rows == 0


# Made clients ------------------------------------------------------------------------------------


def base_rate() -> model.Fitted:
    return model.Fitted(
        "base_rate", linear.Linear((), (), (), (), -2.0), None, calibration.Calibration()
    )


def made(clients: int, seed: int) -> pd.DataFrame:
    """Return the dataset of clients some of whom buy by rhythm, some by message, some never."""
    random = np.random.default_rng(seed)
    rows = pd.DataFrame(np.nan, index=range(clients), columns=list(features.COLUMNS))
    rows.insert(0, "client_id", np.arange(clients) + 1000)
    age = random.integers(30, 400, clients)
    rate = random.gamma(0.6, 1 / 90, clients)
    repeats = random.poisson(rate * age)
    silent = np.where(repeats > 0, age * random.beta(1, repeats + 1), age).astype(int)
    buyer = random.random(clients) < 0.7
    clicks = random.poisson(0.3, clients)
    rows["seen_days"] = age + random.integers(0, 30, clients)
    rows["sends_30d"] = random.poisson(5, clients)
    rows["clicks_90d"] = clicks
    known = {
        "tenure_days": age,
        "days_since_purchase": np.clip(silent, 1, age),
        "purchase_days": repeats + 1,
        "lines_bought": repeats + 1,
        "quantity": repeats + 1,
        "spent": 20 * (repeats + 1),
        "purchase_days_90d": random.binomial(repeats, np.minimum(90 / age, 1)),
    }
    for name, values in known.items():
        rows[name] = np.where(buyer, values, np.nan)
    chance = np.where(buyer, 1 - np.exp(-60 * rate * np.exp(-silent / 200)), 0.02)
    chance = 1 - (1 - chance) * np.where(clicks > 1, 0.5, 1)
    picked = [
        list(random.choice(["a", "b", "c", "d"], count)) if count and bought else None
        for count, bought in zip(np.minimum(repeats, 4), buyer, strict=True)
    ]
    bought = random.random(clients) < chance
    basket = random.gamma(2, 15, clients)  # each client's own usual spend
    rows["last_spent"] = np.where(buyer, basket * random.gamma(5, 0.2, clients), np.nan)
    return rows.assign(
        categories=picked,
        bought=bought.astype(float),
        spent_next=np.where(bought, basket * random.gamma(5, 0.2, clients), 0),
    )


@pytest.fixture(scope="module")
def slices() -> Slices:
    days = [AS_OF, AS_OF - timedelta(days=10)]
    return split({day: made(6000, seed) for seed, day in enumerate(days)}, labels.LABEL)


@pytest.fixture(scope="module")
def fitted(slices) -> model.Fitted:
    return training.fit(slices)


@pytest.fixture(scope="module")
def fresh() -> pd.DataFrame:
    return made(4000, 99)


def test_fitting_labels_end_before_the_gates_begin():
    as_of = date(1998, 4, 1)

    newest = max(labels.CUTOFFS.to_fit(as_of))

    assert newest + timedelta(days=90) <= labels.CUTOFFS.gate(as_of)
    assert labels.CUTOFFS.gate(as_of) + timedelta(days=90) == as_of


def test_no_client_is_in_two_slices_and_validation_is_the_newest_cutoff(slices):
    parts = [
        set(part["client_id"]) for part in (slices.train, slices.validation, slices.calibration)
    ]

    assert len(set.union(*parts)) == sum(map(len, parts))
    assert slices.train["cutoff_age"].unique().tolist() == [0, 10]
    assert slices.validation["cutoff_age"].unique().tolist() == [0]
    assert slices.calibration["cutoff_age"].unique().tolist() == [0, 10]
    assert len(parts[0]) / 6000 == pytest.approx(0.7, abs=0.02)


def test_the_model_is_better_than_every_baseline_and_calibrated(slices, fitted, fresh):
    ours = evaluation.metrics(fresh["bought"], model.score(fitted, fresh)["probability"])

    for name, baseline in baselines.fit_all(slices).items():
        theirs = evaluation.metrics(fresh["bought"], model.score(baseline, fresh)["probability"])
        assert ours["roc_auc"] > theirs["roc_auc"], name
        assert ours["brier"] < theirs["brier"], name
    assert ours["ece"] < 0.03


def test_scores_are_chances_of_every_row_in_the_order_given(fitted, fresh):
    scores = model.score(fitted, fresh)

    assert scores["client_id"].tolist() == fresh["client_id"].tolist()
    assert scores["probability"].between(0, 1, inclusive="neither").all()


def test_a_clients_score_does_not_depend_on_who_is_scored_beside_them(fitted, fresh):
    alone = model.score(fitted, fresh.iloc[[7]])["probability"].item()

    assert alone == pytest.approx(model.score(fitted, fresh)["probability"][7], abs=1e-12)


@pytest.mark.parametrize("name", ["catboost", *baselines.NAMES])
def test_contributions_and_rest_sum_to_the_log_odds(name, slices, fitted, fresh):
    scored = fitted if name == "catboost" else baselines.fit(name, slices)
    newer = calibration.Calibration(slope=1.2, intercept=-0.3)

    moved, constant = explanation.contributions(scored, fresh)
    reasons = explanation.explain(scored, fresh, newer).to_pandas()

    assert np.abs(moved.sum(axis=1) + constant - model.raw_log_odds(scored, fresh)).max() < 1e-6
    published = calibration.log_odds(reasons["probability"].astype(float))
    summed = reasons["reason_contributions"].map(lambda five: five.astype(float).sum())
    assert np.abs(summed + reasons["reason_rest"] - published).max() < 1e-6
    theirs = model.score(scored, fresh, newer)["probability"]
    assert reasons["probability"].to_numpy() == pytest.approx(theirs.to_numpy(), abs=1e-6)


def test_reasons_are_the_five_that_move_most_with_values_people_know(fitted, fresh):
    reasons = explanation.explain(fitted, fresh).to_pandas()

    moved = explanation.contributions(fitted, fresh)[0].iloc[0] * fitted.calibration.slope
    strongest = moved.abs().sort_values(ascending=False).index[:5]
    assert reasons["reason_features"][0].tolist() == strongest.tolist()
    assert reasons["reason_contributions"].map(len).unique().tolist() == [5]
    assert set(np.concatenate(reasons["reason_features"])) <= set(features.FEATURES)
    values = explanation.features(fitted, fresh).iloc[0]
    shown = dict(zip(reasons["reason_features"][0], reasons["reason_values"][0], strict=True))
    assert shown == pytest.approx({name: values[name] for name in shown}, nan_ok=True, rel=1e-6)


def test_a_refit_on_the_same_rows_gives_the_same_scores(slices, fitted, fresh):
    again = model.score(training.fit(slices), fresh)

    assert again["probability"].tolist() == model.score(fitted, fresh)["probability"].tolist()


@pytest.mark.parametrize("name", ["catboost", *baselines.NAMES])
def test_what_is_saved_and_loaded_scores_the_same(name, slices, fitted, fresh, tmp_path):
    kept = fitted if name == "catboost" else baselines.fit(name, slices)

    model.save(kept, tmp_path)
    loaded = model.load(tmp_path)

    assert model.score(loaded, fresh).equals(model.score(kept, fresh))
    assert explanation.explain(loaded, fresh).equals(explanation.explain(kept, fresh))


def test_a_version_goes_on_serving_when_the_list_of_features_changes(fitted, fresh, monkeypatch):
    before = explanation.explain(fitted, fresh)

    monkeypatch.setattr(features, "TREES", (*features.TREES[5:], "days_since_purchase"))

    assert explanation.explain(fitted, fresh).equals(before)


def test_a_version_that_needs_a_feature_no_longer_made_says_so(fitted, fresh, monkeypatch):
    made_now = features.derive
    monkeypatch.setattr(features, "derive", lambda rows: made_now(rows).drop(columns="gap_max"))

    with pytest.raises(ValueError, match=r"reads \['gap_max'\], which the code no longer makes"):
        model.score(fitted, fresh)


def test_fitting_and_scoring_leave_their_input_alone(slices, fitted, fresh):
    before = fresh.copy(deep=True)

    model.score(fitted, fresh)
    explanation.explain(fitted, fresh)

    pd.testing.assert_frame_equal(fresh, before)


def test_calibrating_on_newer_rows_moves_the_level_and_keeps_the_order(fitted, fresh):
    risen = fresh.assign(bought=np.maximum(fresh["bought"], np.arange(len(fresh)) % 5 == 0))

    newer = training.calibrate(fitted, risen)

    moved = model.score(fitted, fresh, newer)["probability"]
    assert moved.mean() == pytest.approx(risen["bought"].mean(), abs=1e-6)
    before = model.score(fitted, fresh)["probability"]
    assert (moved.rank() == before.rank()).all()


def test_with_the_clients_to_score_the_level_is_that_of_clients_like_them(fitted, fresh):
    bought_often = fresh[fresh["purchase_days"] > 3]

    everyone = training.calibrate(fitted, fresh)
    for_them = training.calibrate(fitted, fresh, bought_often)

    assert for_them.slope == everyone.slope
    expected = model.score(fitted, bought_often, for_them)["probability"].mean()
    assert expected == pytest.approx(bought_often["bought"].mean(), rel=0.1)
    same = training.calibrate(fitted, fresh, fresh)
    assert same.intercept == pytest.approx(everyone.intercept, abs=1e-3)


def test_the_level_comes_from_labels_that_are_complete_only():
    cutoffs = labels.CUTOFFS.of_level(date(1998, 4, 1))

    assert max(cutoffs) == labels.CUTOFFS.gate(date(1998, 4, 1))
    rows = labelled({day: made(20, 1) for day in cutoffs}, labels.LABEL)
    assert rows["cutoff_age"].unique().tolist() == [0, 15, 30]


def test_tuning_is_the_same_twice_and_keeps_every_parameter(slices):
    small = Slices(slices.train[:3000], slices.validation, slices.calibration)
    start = {"iterations": 20}

    tuned = training.tune(small, trials=3, start=start)

    assert tuned == training.tune(small, trials=3, start=start)
    assert tuned.keys() == training.PARAMS.keys()
    assert tuned["iterations"] == 20


def test_a_missing_column_is_named(fitted, fresh):
    with pytest.raises(ValueError, match=r"lacks \['spent'\]; sql/purchase_propensity"):
        model.score(fitted, fresh.drop(columns="spent"))


def test_a_single_label_cannot_be_trained_on_and_says_so(slices):
    nobody = Slices(slices.train.assign(bought=0.0), slices.validation, slices.calibration)

    with pytest.raises(ValueError, match=r"single value in the .* rows of the train slice"):
        training.fit(nobody)


def test_cutoffs_without_a_complete_label_are_refused_by_name():
    with pytest.raises(ValueError, match=r"no labelled row at cutoffs .*2026-03-01"):
        split({AS_OF: made(10, 1).assign(bought=np.nan)}, labels.LABEL)


def test_expected_spend_is_closer_than_the_mean_of_buyers_and_adds_up(fitted, fresh):
    scores = model.score(fitted, fresh)

    spent, chance = fresh["spent_next"], scores["probability"]
    plain = chance * spent.sum() / fresh["bought"].sum()
    assert ((scores["expected_spend_90d"] - spent) ** 2).mean() < ((plain - spent) ** 2).mean()
    assert scores["expected_spend_90d"].sum() == pytest.approx(spent.sum(), rel=0.3)
    explained = explanation.explain(fitted, fresh)["expected_spend_90d"].to_numpy()
    assert explained == pytest.approx(scores["expected_spend_90d"].to_numpy(), rel=1e-5)


def test_expected_spend_is_null_where_it_is_no_better_than_the_mean(slices, fresh):
    random = np.random.default_rng(1)
    shuffled = [
        part.assign(
            spent_next=np.where(part["bought"] == 1, random.gamma(2, 15, len(part)), 0),
            last_spent=random.gamma(2, 15, len(part)) * (part["bought"] == 1),
        )
        for part in (slices.train, slices.validation)
    ]
    random_spend = Slices(*shuffled, slices.calibration)
    chance_only = Slices(slices.train[:150], slices.validation, slices.calibration)

    assert spend.fit_spend(None, chance_only) is None
    noise = spend.fit_spend(None, random_spend)
    assert noise is None or max(map(abs, noise.log_mean.weights)) < 0.2
    none = explanation.explain(base_rate(), fresh)["expected_spend_90d"]
    assert none.null_count == len(fresh)


# BG/NBD ------------------------------------------------------------------------------------------


def test_bg_nbd_equals_the_integral_over_rates_and_chances_to_leave():
    params = bgnbd.BgNbd(r=1.3, alpha=20.0, a=0.8, b=2.5)
    x, tx, age, days = 3.0, 30.0, 50.0, 90.0
    # Midpoints of equal parts of the prior's mass, so that the sum is the integral over the prior.
    share = (np.arange(1500) + 0.5) / 1500
    rate = gamma.ppf(share, params.r, scale=1 / params.alpha)[:, None]
    leave = beta.ppf(share, params.a, params.b)[None, :]

    bought = rate**x * (1 - leave) ** (x - 1)
    alive = (bought * (1 - leave) * np.exp(-rate * age)).mean()
    left = (bought * leave * np.exp(-rate * tx)).mean()
    silent = (bought * (1 - leave) * np.exp(-rate * (age + days))).mean()

    arguments = (np.array([x]), np.array([tx]), np.array([age]))
    assert bgnbd.chance_alive(params, *arguments)[0] == pytest.approx(
        alive / (alive + left), rel=1e-3
    )
    assert bgnbd.chance_to_buy(params, *arguments, days)[0] == pytest.approx(
        (alive - silent) / (alive + left), rel=1e-3
    )


def test_bg_nbd_without_a_repeat_purchase_is_a_gamma_mixture():
    params = bgnbd.BgNbd(r=0.5, alpha=40.0, a=1.0, b=2.0)
    age = np.array([60.0])

    chance = bgnbd.chance_to_buy(params, np.zeros(1), np.zeros(1), age, 90)

    assert chance[0] == pytest.approx(1 - (100 / 190) ** 0.5)


def test_bg_nbd_finds_the_parameters_that_made_its_clients():
    random = np.random.default_rng(5)
    clients, params = 8000, bgnbd.BgNbd(r=0.6, alpha=25.0, a=0.9, b=2.5)
    rate = random.gamma(params.r, 1 / params.alpha, clients)
    leave = random.beta(params.a, params.b, clients)
    age = random.uniform(200, 400, clients)
    x, tx, now, alive = np.zeros(clients), np.zeros(clients), np.zeros(clients), rate > 1e-9
    while alive.any():
        now = np.where(alive, now + random.exponential(1, clients) / np.maximum(rate, 1e-9), now)
        alive &= now < age
        x, tx = x + alive, np.where(alive, now, tx)
        alive &= random.random(clients) >= leave

    found = bgnbd.fit(x, tx, age)

    assert found.r == pytest.approx(params.r, rel=0.1)
    assert found.alpha == pytest.approx(params.alpha, rel=0.15)
    assert found.a / (found.a + found.b) == pytest.approx(0.9 / 3.4, rel=0.1)


def test_bg_nbd_refuses_clients_that_cannot_be():
    with pytest.raises(ValueError, match="0 <= tx <= age"):
        bgnbd.fit(np.array([1.0]), np.array([9.0]), np.array([5.0]))


# Pictures ----------------------------------------------------------------------------------------


def test_every_picture_is_drawn_and_the_same_twice(slices, fitted, fresh, tmp_path):
    probabilities = {
        "ours": model.score(fitted, fresh)["probability"],
        "base_rate": model.score(base_rate(), fresh)["probability"],
    }
    moved, values = explanation.contributions(fitted, fresh)[0], explanation.features(fitted, fresh)

    digests = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        files = pictures.draw(folder, "test", fresh["bought"], probabilities, moved, values)
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])

    assert digests[0] == digests[1]
    assert {file.name for file in files} == {
        *("roc.png", "precision_recall.png", "calibration.png", "gain.png", "deciles.png"),
        *("importance.png", "shap_summary.png", "shap_dependence.png"),
    }


def test_the_analysts_page_explains_every_feature():
    page = (ROOT / "docs" / "analyst.md").read_text()

    assert [
        name for name, said in features.FEATURES.items() if f"| `{name}` | {said} |" not in page
    ] == []
