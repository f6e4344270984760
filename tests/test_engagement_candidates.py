"""The candidates, their bench and what is said of a score, on small made-up clients."""

import pickle
from dataclasses import asdict, replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import ADASYN, SMOTE, SMOTENC
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from statsmodels.stats.outliers_influence import variance_inflation_factor

from jobs import calibration as logistic_map
from jobs import evaluation
from jobs.calibration import Calibration, NothingToLearnFrom
from jobs.client_engagement import (
    bench,
    candidates,
    explanation,
    features,
    forest,
    log_odds,
    model,
    training,
)
from jobs.client_engagement.bench import Rows
from jobs.client_engagement.candidates import CONSTANT, HANDLINGS, MODELS, PARAMS
from jobs.client_engagement.collinear import inflation
from jobs.client_engagement.features import Columns, InputsMissing
from jobs.client_engagement.model import Fitted
from jobs.client_scores import tuning
from jobs.client_scores.slices import Slices, split
from jobs.client_scores.threshold import Aim

COLUMNS = Columns(
    amounts=("total_clicks", "total_spent", "days_since_click"),
    measures=("click_rate_90d",),
    categories=("last_event", "usual_channel"),
    vectors=(),
)
QUICK = PARAMS | {"catboost.iterations": 40, "forest.trees": 15, "forest.min_samples_leaf": 5}
AIM = Aim("clients", (100.0,))
BASELINES = {
    "base_rate": (),
    "recency": ("days_since_click",),
    "activity": ("total_clicks", "days_since_click"),
}
EVENTS, CHANNELS = np.array(["click", "open", "close"]), np.array(["email", "sms"])


def dataset(clients: int = 900, seed: int = 3, first: int = 0, rate: float = 0.12) -> pd.DataFrame:
    """Return made clients as dataset.sql returns them; many clicks and recent ones make a target.

    A fifth never clicked, so that days_since_click is missing; some have no last event.
    """
    random = np.random.default_rng(seed)
    clicks = random.poisson(1.5, clients).astype(float)
    frame = pd.DataFrame(
        {
            "client_id": np.arange(first, first + clients),
            "total_clicks": clicks,
            "total_spent": np.exp(random.normal(4, 1, clients)),
            "days_since_click": np.where(clicks > 0, random.integers(1, 90, clients), np.nan),
            "click_rate_90d": np.round(clicks / (clicks + random.poisson(8, clients) + 1), 3),
            "last_event": np.where(clicks > 2, "click", EVENTS[random.integers(1, 3, clients)]),
            "usual_channel": CHANNELS[random.integers(0, 2, clients)],
        }
    )
    frame.loc[random.random(clients) < 0.1, "last_event"] = None
    signal = clicks - 0.02 * frame["days_since_click"].fillna(90).to_numpy()
    signal = 1.2 * signal + logistic_map.shift(1.2 * signal, rate)
    frame["target"] = (random.random(clients) < logistic_map.probability(signal)).astype(int)
    return frame


def rows(frame: pd.DataFrame, columns: Columns = COLUMNS) -> Rows:
    return training.rows_of(frame, columns, ())


TRAIN, HELD, TEST = (
    rows(dataset(seed=seed, first=first)) for seed, first in ((1, 0), (2, 1000), (3, 2000))
)


def fitted(name: str, handling: str = "none", columns: Columns = COLUMNS, train: Rows = TRAIN):
    return candidates.fit(name, handling, columns, QUICK, train.inputs, train.labels)


@pytest.fixture(scope="module", autouse=True)
def few_columns():
    """Train on the few columns of the made clients."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "EVERYTHING", COLUMNS)
        patch.setattr(training, "BASELINES", BASELINES)
        yield


# Each candidate -----------------------------------------------------------------------------------


@pytest.mark.parametrize("handling", HANDLINGS)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_with_every_handling_ranks_clients_it_has_not_seen(name, handling):
    pipeline = fitted(name, handling)

    z = log_odds.log_odds(pipeline, TEST.inputs)

    assert z.shape == TEST.labels.shape
    assert np.isfinite(z).all()
    assert roc_auc_score(TEST.labels, z) > 0.75
    again = log_odds.log_odds(fitted(name, handling), TEST.inputs)
    assert (again == z).all()


@pytest.mark.parametrize("handling", ["none", "smote_nc", "adasyn"])
@pytest.mark.parametrize(
    ("name", "apart"), [("logistic", 1e-9), ("catboost", 1e-6), ("forest", 1e-9)]
)
def test_contributions_and_constant_are_the_log_odds(name, handling, apart):
    pipeline = fitted(name, handling)
    matrix = log_odds.matrix_of(pipeline, TEST.inputs)

    added, constant = log_odds.contributions(pipeline, TEST.inputs, matrix.mean(axis=0))

    assert added.shape == matrix.shape
    z = log_odds.log_odds(pipeline, TEST.inputs)
    assert np.allclose(added.sum(axis=1) + constant, z, atol=apart, rtol=0)
    assert np.abs(added).max() > 0.1


def test_the_log_odds_are_those_of_the_models_own_chances():
    for name in MODELS:
        pipeline = fitted(name)
        chance = pipeline.predict_proba(TEST.inputs)[:, 1]
        kept = np.clip(chance, log_odds.LEAST_CHANCE, 1 - log_odds.LEAST_CHANCE)

        z = log_odds.log_odds(pipeline, TEST.inputs)

        bounded = logistic_map.probability(z)
        assert np.allclose(bounded, kept if name == "forest" else chance, atol=1e-9), name


def test_the_model_of_the_base_rate_says_it_to_everybody_for_no_reason():
    pipeline = fitted(CONSTANT, columns=Columns((), (), (), ()))

    added, constant = log_odds.contributions(pipeline, TEST.inputs, np.zeros(1))

    assert added.shape == (len(TEST.labels), 0)
    assert np.allclose(logistic_map.probability(constant), TRAIN.labels.mean())


def test_a_forests_steps_add_up_to_its_own_chance():
    random = np.random.default_rng(1)
    matrix = random.normal(size=(400, 5)).astype(np.float32)
    labels = (matrix[:, 0] + random.normal(size=400) > 1).astype(int)
    grown = RandomForestClassifier(20, min_samples_leaf=3, random_state=1).fit(matrix, labels)

    added, constant = forest.contributions(forest.trees_of(grown), matrix)

    assert np.allclose(added.sum(axis=1) + constant, grown.predict_proba(matrix)[:, 1], atol=1e-12)
    strength = np.abs(added).mean(axis=0)
    assert strength.argmax() == 0


def test_a_forests_chance_of_zero_is_a_small_one_with_finite_reasons():
    labels = np.repeat([0.0, 1.0], 450)
    sure = TEST.inputs.assign(total_clicks=labels * 9, click_rate_90d=labels)
    pipeline = fitted("forest", train=Rows(sure, labels, TEST.clients))
    assert set(pipeline.predict_proba(sure)[:, 1].round(9)) >= {0, 1}

    added, constant = log_odds.contributions(pipeline, sure, np.zeros(0))

    z = log_odds.log_odds(pipeline, sure)
    assert logistic_map.probability([z.min(), z.max()]) == pytest.approx([1e-4, 1 - 1e-4])
    assert np.allclose(added.sum(axis=1) + constant, z, atol=1e-9)


def test_class_weights_make_both_classes_count_the_same():
    plain, weighted = (
        logistic_map.probability(log_odds.log_odds(fitted("logistic", how), TRAIN.inputs)).mean()
        for how in ("none", "class_weights")
    )

    assert plain == pytest.approx(TRAIN.labels.mean(), abs=0.005)
    assert weighted > 0.3


def test_focal_weights_give_log_loss_the_gradient_of_the_focal_loss():
    z, labels = np.array([-3.0, -0.5, 0.2, 2.0] * 2), np.repeat([0.0, 1.0], 4)

    def losses(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        right = np.where(labels == 1, 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z)))
        return -np.log(right), -((1 - right) ** candidates.FOCUS) * np.log(right)

    log_slope, focal_slope = (
        (after - before) / 2e-6
        for after, before in zip(losses(z + 1e-6), losses(z - 1e-6), strict=True)
    )

    weights = np.exp(candidates._focal_logs(logistic_map.probability(z), labels))

    assert np.allclose(weights * log_slope, focal_slope, atol=1e-6)


# What is missing, new or of no use ----------------------------------------------------------------


def words_of(pipeline, inputs: pd.DataFrame) -> np.ndarray:
    """Return the columns of the matrix that are about words."""
    names = candidates.matrix_features(pipeline, COLUMNS)
    about = [name in COLUMNS.categories for name in names]
    return log_odds.matrix_of(pipeline, inputs)[:, about]


@pytest.mark.parametrize("handling", ["none", "smote_nc", "adasyn"])
@pytest.mark.parametrize("name", MODELS)
def test_a_word_never_seen_is_like_none_that_is_known_and_scores(name, handling):
    pipeline = fitted(name, handling)
    one = TEST.inputs.head(1)

    new = one.assign(last_event="sang", usual_channel="pigeon")

    assert np.isfinite(log_odds.log_odds(pipeline, new)).all()
    assert (words_of(pipeline, new) == 0).all()
    known = pd.concat([one] * 4).assign(last_event=[*EVENTS, features.NO_INFORMATION])
    assert (words_of(pipeline, known.assign(usual_channel="sms")).sum(axis=1) == 2).all()


def test_a_word_never_seen_takes_its_own_weight_from_the_score():
    pipeline = fitted("logistic")
    one = TEST.inputs.head(1).assign(last_event="click")
    names = candidates.matrix_features(pipeline, COLUMNS)
    matrix = log_odds.matrix_of(pipeline, one)[0]
    told = [
        place for place, name in enumerate(names) if name == "last_event" and matrix[place] == 1
    ]

    new = log_odds.log_odds(pipeline, one.assign(last_event="sang"))

    weight = pipeline.named_steps["model"].coef_[0][told]
    assert len(told) == 1
    assert new == pytest.approx(log_odds.log_odds(pipeline, one) - weight, abs=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_that_a_number_is_missing_changes_the_score_where_it_tells_something(name):
    random = np.random.default_rng(5)
    absent = random.random(len(TRAIN.labels)) < 0.5
    labels = (random.random(len(absent)) < np.where(absent, 0.5, 0.05)).astype(float)
    spent = np.where(absent, np.nan, TRAIN.inputs["total_spent"])
    train = Rows(TRAIN.inputs.assign(total_spent=spent), labels, TRAIN.clients)
    pipeline = fitted(name, train=train)
    # Missing numbers are the median: nothing but the flag tells these two clients apart.
    both = pd.concat([TEST.inputs.head(1)] * 2).assign(total_spent=[np.nanmedian(spent), np.nan])

    there, missing = log_odds.log_odds(pipeline, both)

    assert missing > there + 1
    assert candidates.matrix_features(pipeline, COLUMNS).count("total_spent") == 2
    seen = log_odds.matrix_of(pipeline, both)
    assert (seen[0] != seen[1]).sum() == 1


@pytest.mark.parametrize("name", MODELS)
def test_a_number_missing_at_scoring_only_is_the_median(name):
    pipeline = fitted(name)
    median = TRAIN.inputs["total_spent"].median()
    one = TEST.inputs.head(1)

    scores = [
        log_odds.log_odds(pipeline, one.assign(total_spent=value)) for value in (median, np.nan)
    ]

    assert scores[0] == pytest.approx(scores[1], abs=1e-12)


@pytest.mark.parametrize("handling", HANDLINGS)
@pytest.mark.parametrize("name", MODELS)
def test_columns_that_are_all_null_constant_or_doubled_do_no_harm(name, handling):
    columns = replace(COLUMNS, amounts=(*COLUMNS.amounts, "empty", "same", "twice"))

    def spoilt(rows: Rows) -> Rows:
        more = {"empty": np.nan, "same": 7.0, "twice": rows.inputs["total_spent"]}
        return replace(rows, inputs=rows.inputs.assign(**more)[[*columns.numbers, *CATEGORIES]])

    pipeline = fitted(name, handling, columns, spoilt(TRAIN))

    z = log_odds.log_odds(pipeline, spoilt(TEST).inputs)
    filled = log_odds.log_odds(pipeline, spoilt(TEST).inputs.assign(empty=3.0))
    assert np.isfinite(z).all()
    assert np.isfinite(filled).all()
    assert roc_auc_score(TEST.labels, z) > 0.75


CATEGORIES = list(COLUMNS.categories)


def test_infinite_numbers_count_as_missing_and_missing_words_as_no_information():
    frame = dataset(3).assign(total_spent=[np.inf, -np.inf, 5.0], last_event=[None, "open", np.nan])

    read = features.inputs(frame, COLUMNS)

    assert read["total_spent"].isna().tolist() == [True, True, False]
    assert read["last_event"].tolist() == ["no_information", "open", "no_information"]
    assert list(read.columns) == [*COLUMNS.numbers, *COLUMNS.categories]


def test_a_dataset_that_lacks_a_column_is_named():
    with pytest.raises(InputsMissing, match=r"lacks \['total_spent'\]"):
        features.inputs(dataset(3).drop(columns="total_spent"), COLUMNS)


# Multicollinearity --------------------------------------------------------------------------------


def numbers(rows: int = 500, columns: int = 6, seed: int = 2) -> pd.DataFrame:
    """Return numbers that are correlated, but not much."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(rows, columns)) @ (
        np.eye(columns) + 0.4 * random.random((columns, columns))
    )
    return pd.DataFrame(mixed * 10 + 3, columns=[f"n{place}" for place in range(columns)])


def test_factors_are_the_diagonal_of_the_inverse_correlation_matrix():
    frame = numbers()

    table = inflation(frame, limit=np.inf)

    expected = np.diag(np.linalg.inv(np.corrcoef(frame.to_numpy().T)))
    assert np.allclose(table["vif"], expected, rtol=1e-8)
    assert 1.05 < expected.max() < 50
    assert table["dropped"].isna().all()
    assert table["feature"].tolist() == list(frame.columns)


def test_factors_are_those_of_statsmodels_on_the_rows():
    frame = numbers()
    with_constant = np.column_stack([frame.to_numpy(), np.ones(len(frame))])

    table = inflation(frame, limit=np.inf)

    expected = [variance_inflation_factor(with_constant, place) for place in range(6)]
    assert np.allclose(table["vif"], expected, rtol=1e-6)


def test_the_largest_factor_goes_first_and_the_others_are_counted_anew():
    random = np.random.default_rng(6)
    frame = numbers(columns=4)
    frame["near0"] = frame["n0"] + random.normal(0, 1.0, len(frame))
    frame["near1"] = frame["n1"] + random.normal(0, 0.1, len(frame))
    left, order = list(frame.columns), []
    while True:
        factors = np.diag(np.linalg.inv(np.corrcoef(frame[left].to_numpy().T)))
        if factors.max() <= 10:
            break
        order.append((left[factors.argmax()], factors.max()))
        left.remove(order[-1][0])

    table = inflation(frame).set_index("feature")

    gone = table[table["dropped"].notna()].sort_values("dropped")
    assert list(gone.index) == [name for name, _ in order]
    assert len(order) == 2
    assert np.allclose(gone["vif"], [factor for _, factor in order], rtol=1e-6)
    assert gone["dropped"].tolist() == [1, 2]
    assert np.allclose(table.loc[left, "vif"], factors, rtol=1e-6)


@pytest.mark.parametrize(
    "made",
    [
        lambda frame: 3 * frame["n0"] - 5,
        lambda frame: frame["n0"] + frame["n1"] - 2 * frame["n2"],
        lambda frame: -frame[["n0", "n1", "n2", "n3"]].sum(axis=1),
    ],
    ids=["double", "sum of three", "sum of four"],
)
def test_what_others_determine_exactly_has_an_infinite_factor_and_one_goes(made):
    frame = numbers(columns=4).assign(made=made)

    table = inflation(frame)

    gone = table[table["dropped"].notna()]
    assert gone["vif"].tolist() == [np.inf]
    assert table.loc[table["dropped"].isna(), "vif"].max() < 10


def test_what_never_varies_goes_at_the_beginning_without_a_factor():
    frame = numbers(columns=2).assign(same=5.0, double=lambda frame: frame["n0"], zero=0.0)

    table = inflation(frame).set_index("feature")

    assert table["dropped"].reindex(["same", "zero"]).tolist() == [1, 2]
    assert table.loc[["same", "zero"], "vif"].isna().all()
    assert sorted(table["dropped"].dropna()) == [1, 2, 3]


def test_a_single_number_and_none_at_all_have_nothing_beside_them():
    alone = inflation(numbers(columns=1))
    none = inflation(pd.DataFrame({"same": np.ones(5)}))

    assert alone[["vif", "dropped"]].fillna(-1).to_numpy().tolist() == [[1, -1]]
    assert none["dropped"].tolist() == [1]


def test_a_training_drops_what_is_null_constant_or_determined_by_others():
    frame = dataset().assign(
        empty=np.nan, same=7.0, twice=lambda frame: 2 * frame["total_spent"] + 1, cutoff_age=0
    )
    wide = replace(COLUMNS, amounts=(*COLUMNS.amounts, "empty", "same"), measures=("twice",))
    wide = replace(wide, measures=("click_rate_90d", "double"))
    frame["double"] = 2 * frame["click_rate_90d"] - 1

    columns, table = training.fewer(frame, wide, ())

    told = table.set_index("feature")
    assert told["dropped"].dropna().to_dict() == {
        "empty": 1,
        "same": 2,
        told["vif"].idxmax(): 3,
    }
    assert columns.amounts == COLUMNS.amounts
    assert len(columns.measures) == 1
    assert columns.categories == COLUMNS.categories


# The bench ----------------------------------------------------------------------------------------


def compared(train: Rows = TRAIN, held: Rows = HELD, test: Rows = TEST, aim: Aim = AIM):
    return bench.compare(train, held, test, COLUMNS, QUICK, aim)


@pytest.fixture
def fewer_candidates(monkeypatch):
    monkeypatch.setattr(bench, "MODELS", ("logistic", "forest"))
    monkeypatch.setattr(bench, "HANDLINGS", ("none", "class_weights", "smote_nc", "adasyn"))
    monkeypatch.setattr(bench, "RESAMPLES", 50)


@pytest.mark.usefixtures("fewer_candidates")
def test_rows_are_made_up_while_fitting_and_only_of_the_training_rows(monkeypatch):
    resampled = []
    for sampler in (SMOTENC, ADASYN):

        def spy(self, inputs, labels, *, fit_resample=sampler.fit_resample):
            made = fit_resample(self, inputs, labels)
            resampled.append((len(labels), int(labels.sum()), len(made[1])))
            return made

        monkeypatch.setattr(sampler, "fit_resample", spy)

    table, _ = compared()

    assert len(resampled) == 4
    for seen, positives, made in resampled:
        assert (seen, positives) == (len(TRAIN.labels), TRAIN.labels.sum())
        assert made > 1.5 * seen
    assert (table["rows"] == len(TEST.labels)).all()
    assert (table["positives"] == TEST.labels.sum()).all()
    assert (table["fit_rows"] == len(TRAIN.labels)).all()


def noise(clients: int, seed: int, first: int) -> Rows:
    """Return clients whose labels, one in ten positive, have nothing to do with them."""
    made = rows(dataset(clients, seed, first))
    labels = np.random.default_rng(seed + 50).random(clients) < 0.1
    return replace(made, labels=labels.astype(float))


def test_resampling_before_the_split_finds_what_is_not_there_and_the_bench_does_not(monkeypatch):
    monkeypatch.setattr(bench, "RESAMPLES", 20)
    train, held, test = noise(900, 1, 0), noise(900, 2, 1_000), noise(1_500, 3, 2_000)
    whole = pd.concat([train.inputs, held.inputs, test.inputs])
    labels = np.concatenate([train.labels, held.labels, test.labels])
    numbers = candidates.prepare(replace(COLUMNS, categories=()), normal=True).fit_transform(whole)
    mixed, mixed_labels = SMOTE(random_state=1).fit_resample(numbers, labels)
    half = np.random.default_rng(1).random(len(mixed)) < 0.5
    grown = RandomForestClassifier(50, random_state=1).fit(mixed[half], mixed_labels[half])
    mistaken = roc_auc_score(mixed_labels[~half], grown.predict_proba(mixed[~half])[:, 1])

    table, _ = compared(train, held, test)

    tried = table[table["model"] != bench.ALWAYS_NO]
    assert mistaken > 0.8
    assert set(tried["handling"]) == set(HANDLINGS)
    assert len(tried) == len(MODELS) * len(HANDLINGS)
    # 150 of 1,500 are positive: by chance, an area is .5 give or take .025.
    assert (tried["roc_auc"] - 0.5).abs().max() < 0.1
    assert (tried["roc_auc_low"] < 0.53).all()


@pytest.mark.usefixtures("fewer_candidates")
def test_the_test_rows_labels_choose_nothing():
    aim = Aim("precision", (0.3,))
    mixed = np.random.default_rng(1).permutation(TEST.labels)

    table, pipeline = compared(aim=aim)
    other, other_pipeline = compared(test=replace(TEST, labels=mixed), aim=aim)

    decided = ["model", "handling", "vectors", "chosen", "threshold", "flagged"]
    decided += ["selection_pr_auc", "selection_brier"]
    pd.testing.assert_frame_equal(table[decided], other[decided], check_exact=True)
    assert (table["roc_auc"] != other["roc_auc"]).iloc[:-1].all()
    scores = [log_odds.log_odds(each, TEST.inputs) for each in (pipeline, other_pipeline)]
    assert (scores[0] == scores[1]).all()


def stub(monkeypatch, scores: dict[str, np.ndarray]) -> None:
    """Let each handling of one model give these log-odds to the held rows, whatever it is told."""
    monkeypatch.setattr(bench, "MODELS", ("logistic",))
    monkeypatch.setattr(bench, "HANDLINGS", tuple(scores))
    monkeypatch.setattr(candidates, "fit", lambda model, handling, *_: handling)
    monkeypatch.setattr(bench, "log_odds", lambda handling, inputs: scores[handling])


def truth(clients: int = 4_000) -> tuple[Rows, np.ndarray]:
    """Return rows and the log-odds that their labels were drawn with."""
    random = np.random.default_rng(8)
    z = random.normal(-2, 1.5, clients)
    labels = (random.random(clients) < logistic_map.probability(z)).astype(float)
    return Rows(pd.DataFrame(index=range(clients)), labels, np.arange(clients)), z


def test_of_those_that_rank_alike_the_best_calibrated_is_chosen(monkeypatch):
    known, z = truth()
    noisy = z + np.random.default_rng(1).normal(0, 4, len(z))
    stub(monkeypatch, {"bent": z**3, "noisy": noisy, "honest": z})

    table, pipeline = compared(known, known, known)

    alike = table.set_index("handling")["selection_pr_auc"]
    assert alike["bent"] == pytest.approx(alike["honest"], abs=1e-4)
    assert bench.chosen_of(table) == ("logistic", "honest", False)
    assert pipeline == "honest"


def test_a_ranking_that_is_surely_worse_is_not_chosen_for_its_brier_score(monkeypatch):
    known, z = truth()
    noisy = z + np.random.default_rng(1).normal(0, 0.8, len(z))
    bent = np.exp(1.5 * z)
    stub(monkeypatch, {"noisy": noisy, "bent": bent})

    table, _ = compared(known, known, known)

    figures = table.set_index("handling")["selection_brier"]
    assert figures["noisy"] < figures["bent"]
    assert bench.chosen_of(table) == ("logistic", "bent", False)


@pytest.mark.usefixtures("fewer_candidates")
def test_what_was_fitted_on_a_part_of_the_rows_is_to_be_fitted_again(monkeypatch):
    monkeypatch.setattr(bench, "FIT_ROWS", 400)

    table, pipeline = compared()

    assert pipeline is None
    assert (table["fit_rows"] == 400).all()
    some = bench.some_of(TRAIN, 400)
    assert len(set(some.clients)) == 400
    assert (TRAIN.labels[some.clients] == some.labels).all()
    assert some.inputs.equals(TRAIN.inputs.iloc[some.clients])


@pytest.mark.usefixtures("fewer_candidates")
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_held_out_rows_of_one_label_are_nothing_to_learn_from(label):
    alike = replace(HELD, labels=np.full(len(HELD.labels), label))

    with pytest.raises(NothingToLearnFrom, match="single value"):
        compared(held=alike)


@pytest.mark.usefixtures("fewer_candidates")
def test_test_rows_of_one_label_leave_the_figures_unknown_and_choose_as_ever():
    nobody = replace(TEST, labels=np.zeros(len(TEST.labels)))

    table, _ = compared(test=nobody)

    assert bench.chosen_of(table) == bench.chosen_of(compared()[0])
    tried = table[table["model"] != bench.ALWAYS_NO]
    assert "roc_auc" not in tried or tried["roc_auc"].isna().all()
    assert (tried["positives"] == 0).all()
    assert tried["recall"].isna().all()


# A training ---------------------------------------------------------------------------------------


def slices(clients: int = 2_400, touches: bool = True) -> tuple[Slices, pd.DataFrame]:
    """Return slices of two cutoffs and the gate's rows."""

    def seen(seed: int) -> pd.DataFrame:
        frame = dataset(clients, seed)
        random = np.random.default_rng(seed)
        own = {"click": "click email", "open": "open sms", "close": "close sms"}
        if touches:
            frame["touches"] = [
                [own.get(event, "send email")] * int(many) + ["send sms"] if many else None
                for event, many in zip(
                    frame["last_event"], random.integers(0, 4, clients), strict=True
                )
            ]
        return frame

    cut = split({date(2026, 2, 1): seen(1), date(2026, 1, 18): seen(2)}, "target")
    return cut, seen(3)


@pytest.fixture(scope="module")
def trained() -> dict[str, Fitted]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "MODELS", ("logistic", "forest"))
        patch.setattr(bench, "HANDLINGS", ("none", "class_weights"))
        patch.setattr(bench, "RESAMPLES", 50)
        cut, gate = slices()
        return training.fit_all(cut, QUICK, gate, AIM)


@pytest.fixture(scope="module")
def of_each() -> dict[str, Fitted]:
    """Return one trained model of each kind, which reads vectors as well."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "HANDLINGS", ("none",))
        patch.setattr(bench, "RESAMPLES", 20)
        for name in MODELS:
            patch.setattr(bench, "MODELS", (name,))
            patch.setattr(bench, "_chosen", lambda held, chances: next(iter(chances)))
            cut, gate = slices()
            found[name] = training.fit_all(cut, QUICK, gate, AIM)["model"]
    return found


def test_a_training_returns_the_chosen_one_and_the_baselines(trained):
    assert set(trained) == {"model", "base_rate", "recency", "activity"}
    name, handling, _ = bench.chosen_of(trained["model"].bench)
    assert trained["model"].name == f"{name}, {handling}"
    assert trained["recency"].columns.amounts == ("days_since_click",)
    assert trained["activity"].columns.amounts == ("total_clicks", "days_since_click")
    _, gate = slices()
    ranked = {
        name: evaluation.metrics(gate["target"], model.probabilities(each, gate))["roc_auc"]
        for name, each in trained.items()
    }
    assert ranked["model"] > 0.8
    assert ranked["base_rate"] == 0.5


@pytest.mark.parametrize("name", MODELS)
def test_reasons_and_rest_sum_to_the_log_odds_of_the_chance(of_each, name):
    one = of_each[name]
    _, gate = slices()
    gate = gate.head(300)
    served = Calibration(0.8, -0.3)

    told = explanation.explain(one, gate, served).to_pandas()

    chance = told["probability"].to_numpy(dtype=float)
    assert np.allclose(chance, model.probabilities(one, gate, served), atol=1e-6)
    summed = told["reason_contributions"].map(np.sum) + told["reason_rest"]
    assert np.allclose(summed, np.log(chance / (1 - chance)), atol=1e-3)
    given = {feature for features_ in told["reason_features"] for feature in features_}
    assert given <= {*COLUMNS.amounts, *COLUMNS.measures, *COLUMNS.categories, "touches"}
    assert "total_clicks" in given
    assert told["reason_features"].map(lambda names: len(set(names)) == len(names)).all()


@pytest.mark.parametrize("name", MODELS)
def test_levels_flags_and_dimensions_count_as_one_feature_each(of_each, name):
    one = of_each[name]
    _, gate = slices()
    assert len(one.columns.vectors) > 1

    moved, constant = explanation.raw_contributions(one, gate.head(300))

    gone = set(one.vif.loc[one.vif["dropped"].notna(), "feature"])
    expected = {*COLUMNS.numbers, *COLUMNS.categories, "touches"} - gone
    assert set(moved.columns) == expected
    z = model.raw_log_odds(one, gate.head(300))
    assert np.allclose(moved.sum(axis=1) + constant, z, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_scoring_changes_nothing_that_was_fitted(of_each, name):
    one = of_each[name]
    _, gate = slices()
    before = pickle.dumps((one.pipeline, one.words, one.centre))

    model.probabilities(one, gate.assign(total_spent=1e6, last_event="sang"))
    explanation.explain(one, gate)

    assert pickle.dumps((one.pipeline, one.words, one.centre)) == before


@pytest.mark.parametrize("name", MODELS)
def test_a_client_alone_scores_as_among_all(of_each, name):
    one = of_each[name]
    _, gate = slices()
    together = log_odds.matrix_of(one.pipeline, model.inputs_of(one, gate))

    for place in (0, 7, 2_399):
        alone = gate.iloc[[place]]
        assert (
            log_odds.matrix_of(one.pipeline, model.inputs_of(one, alone)) == together[place]
        ).all()
        chance = model.probabilities(one, alone)
        assert chance == pytest.approx(model.probabilities(one, gate)[place], abs=1e-12)


def test_scores_do_not_depend_on_the_size_of_the_blocks(of_each, monkeypatch):
    _, gate = slices()
    whole = {name: model.raw_log_odds(one, gate) for name, one in of_each.items()}

    monkeypatch.setattr(model, "BLOCK_ROWS", 700)

    for name, one in of_each.items():
        assert np.allclose(model.raw_log_odds(one, gate), whole[name], atol=1e-12), name
        assert explanation.explain(one, gate)["client_id"].to_pylist() == gate["client_id"].tolist()
    assert model.raw_log_odds(of_each["logistic"], gate.head(0)).shape == (0,)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_saved_and_loaded_is_the_same_to_the_last_bit(of_each, trained, tmp_path, name):
    one = replace(of_each[name], bench=trained["model"].bench)
    _, gate = slices()

    model.save(one, tmp_path / "model")
    back = model.load(tmp_path / "model")

    assert (model.probabilities(back, gate) == model.probabilities(one, gate)).all()
    assert explanation.explain(back, gate).equals(explanation.explain(one, gate))
    pd.testing.assert_frame_equal(back.bench, one.bench, check_exact=True)
    pd.testing.assert_frame_equal(back.vif, one.vif, check_exact=True)
    assert (back.name, back.columns, back.calibration) == (one.name, one.columns, one.calibration)
    np.testing.assert_equal(asdict(back.threshold), asdict(one.threshold))


def test_a_baseline_is_saved_and_loaded_without_tables(trained, tmp_path):
    _, gate = slices()

    for name in ("base_rate", "recency"):
        model.save(trained[name], tmp_path / name)
        back = model.load(tmp_path / name)
        assert (back.bench, back.vif) == (None, None)
        assert (model.probabilities(back, gate) == model.probabilities(trained[name], gate)).all()
        np.testing.assert_equal(asdict(back.threshold), asdict(trained[name].threshold))


@pytest.mark.parametrize("slice_name", ["train", "validation", "calibration"])
@pytest.mark.parametrize("label", [0, 1])
def test_a_slice_with_one_label_is_nothing_to_learn_from_and_named(slice_name, label):
    cut, gate = slices()
    alike = replace(cut, **{slice_name: getattr(cut, slice_name).assign(target=label)})

    with pytest.raises(NothingToLearnFrom, match=f"single value in the .* of the {slice_name}"):
        training.fit_all(alike, QUICK, gate, AIM)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("positives", [(1, 1, 1), (3, 1, 1), (2, 3, 3)])
def test_three_positives_are_trained_on_without_what_needs_more(positives, monkeypatch):
    monkeypatch.setattr(bench, "RESAMPLES", 20)
    cut, gate = slices(1_200)
    few = {}
    for name, count in zip(("train", "validation", "calibration"), positives, strict=True):
        frame = getattr(cut, name)
        first = frame.index[frame["target"] == 1][:count]
        few[name] = frame.assign(target=frame.index.isin(first).astype(int))

    found = training.fit_all(Slices(**few), QUICK, gate, AIM)

    table = found["model"].bench
    tried = set(table.loc[table["model"] == "logistic", "handling"])
    assert {"none", "class_weights", "oversampling", "undersampling", "focal"} <= tried
    assert ("smote_nc" in tried) == (positives[0] > 1)
    for each in found.values():
        chances = model.probabilities(each, gate)
        assert ((chances > 0) & (chances < 1)).all()
    reasons = explanation.explain(found["model"], gate)
    assert len(reasons) == len(gate)


@pytest.mark.filterwarnings("ignore")
def test_positives_that_are_all_alike_leave_out_what_finds_no_neighbour(monkeypatch, caplog):
    monkeypatch.setattr(bench, "MODELS", ("logistic",))
    monkeypatch.setattr(bench, "RESAMPLES", 20)
    frame = dataset(400)
    apart = frame.index < 40
    far = frame.assign(target=apart.astype(int))
    far.loc[apart, ["total_clicks", "total_spent", "days_since_click"]] = 1e6
    far.loc[apart, "click_rate_90d"] = 1
    far.loc[apart, ["last_event", "usual_channel"]] = "click", "email"
    train = rows(far)

    table, _ = bench.compare(train, train, train, COLUMNS, QUICK, AIM)

    assert "adasyn" not in set(table["handling"])
    assert {"none", "smote_nc"} <= set(table["handling"])
    assert "logistic with adasyn is left out" in caplog.text


def test_too_few_positives_to_tune_with_say_so_or_leave_what_was_used():
    cut, _ = slices()
    one = cut.train.index[cut.train["target"] == 1][:1]
    alone = replace(cut, train=cut.train.assign(target=cut.train.index.isin(one).astype(int)))

    with pytest.raises(NothingToLearnFrom, match="too few positives to tune with"):
        training.tune(alone, 3, QUICK, tuning.study(None, "few"))


# Tuning -------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Fixed parameter")
def test_a_model_keeps_its_parameters_unless_others_are_better(monkeypatch):
    monkeypatch.setattr(training, "MODELS", ("logistic",))
    cut, _ = slices(touches=False)
    spoilt = {"logistic.ridge": 1e5}

    kept = training.tune(cut, 1, QUICK, tuning.study(None, "kept"))
    mended = training.tune(cut, 4, QUICK | spoilt, tuning.study(None, "mended"))

    assert kept == QUICK
    assert mended["logistic.ridge"] < 1
    assert {name: mended[name] for name in QUICK if name != "logistic.ridge"} == {
        name: QUICK[name] for name in QUICK if name != "logistic.ridge"
    }


def test_a_tuning_that_is_killed_goes_on_and_ends_as_one_run_through(monkeypatch):
    monkeypatch.setattr(training, "MODELS", ("logistic",))
    cut, _ = slices(touches=False)
    through = training.tune(cut, 5, QUICK, tuning.study(None, "through"))
    study, fits = tuning.study(None, "killed"), []
    fit = candidates.fit

    def dies(*told):
        fits.append(told)
        if len(fits) == 8:
            raise KeyboardInterrupt
        return fit(*told)

    monkeypatch.setattr(candidates, "fit", dies)
    with pytest.raises(KeyboardInterrupt):
        training.tune(cut, 5, QUICK, study)

    ended = training.tune(cut, 5, QUICK, study)

    assert ended == through
