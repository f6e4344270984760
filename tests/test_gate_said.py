"""The gate where versions say yes or no: what is found counts, and whether promises are kept."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from jobs import champion
from jobs.champion import Gate, Said, Verdict

GATE = Gate(
    job="toy",
    metric="pr_auc",
    horizon_days=14,
    margin=0.01,
    max_age_days=14,
    cadence_days=7,
    calibration_bound=None,
    unit="client_id",
)
BASELINES = {"base": "base_rate", "recency": "recency"}
PROMISED = 0.2
CLIENTS = 2_000


def gate_rows(seed: int = 3, **strength: int) -> pd.DataFrame:
    """Return gate rows, one of ten positive, with each version's chances.

    ``strength`` 0 knows nothing (the base rate), larger values know more of the label's cause.
    """
    random = np.random.default_rng(seed)
    causes = random.standard_normal((CLIENTS, 4))
    chance = 1 / (1 + np.exp(4 - 1.5 * causes.sum(axis=1)))
    frame = pd.DataFrame({"client_id": np.arange(CLIENTS)})
    frame["label"] = (random.random(CLIENTS) < chance).astype(int)
    for version, known in strength.items():
        signal = causes[:, :known].sum(axis=1)
        frame[version] = np.clip(1 / (1 + np.exp(3 - signal)), 0.01, 0.99)
    return frame


def naming(scores: pd.DataFrame, right: int, wrong: int) -> np.ndarray:
    """Return yeses to so many of the positives and of the others."""
    positive = scores["label"].to_numpy() == 1
    yes = np.zeros(len(scores), dtype=bool)
    yes[np.flatnonzero(positive)[:right]] = True
    yes[np.flatnonzero(~positive)[:wrong]] = True
    return yes


def judged(
    scores: pd.DataFrame,
    yes: dict[str, tuple[int, int]],
    least: float | None = PROMISED,
    gate: Gate = GATE,
    **arguments: object,
) -> Verdict:
    """Return the verdict where each version names so many right and so many wrong ones."""
    answers = {version: naming(scores, *counts) for version, counts in yes.items()}
    said = Said(pd.DataFrame(answers), least)
    return champion.judge(gate, scores, "new", BASELINES, said=said, **arguments)


ROWS = gate_rows(base=0, recency=1, new=4)
NOBODY = (0, 0)
SOUND = (50, 100)  # a third are right


def test_a_challenger_that_keeps_its_promise_is_promoted():
    verdict = judged(ROWS, {"base": NOBODY, "recency": SOUND, "new": SOUND})

    assert verdict.winner == "new"
    answers = verdict.figures["answers"]["new"]
    assert answers["yes"] == 150
    assert answers["precision"] == pytest.approx(1 / 3)
    assert answers["recall"] == pytest.approx(50 / ROWS["label"].sum())
    assert verdict.figures["answers"]["base"]["precision"] is None


@pytest.mark.parametrize(("named", "told"), [(NOBODY, 0), ((0, 80), 80)])
def test_zero_recall_cannot_be_promoted_although_the_metric_is_best(named, told):
    verdict = judged(ROWS, {"base": NOBODY, "recency": SOUND, "new": named}, least=None)

    values = verdict.figures["values"]
    assert values["new"] == max(values.values())
    assert verdict.figures["gain_over_floor"]["low"] > 0
    assert verdict.winner == "recency"
    assert f"it says yes to {told} rows and finds no positive" in verdict.reason


def test_one_positive_found_is_enough_where_nothing_is_promised():
    verdict = judged(ROWS, {"base": NOBODY, "recency": SOUND, "new": (1, 400)}, least=None)

    assert verdict.winner == "new"


def test_a_precision_surely_below_the_promised_one_fails():
    verdict = judged(ROWS, {"base": NOBODY, "recency": SOUND, "new": (50, 350)})

    assert verdict.winner == "recency"
    assert "precision 0.125, surely 0.1" in verdict.reason
    assert "or less, where 0.2 is promised" in verdict.reason
    assert verdict.figures["answers"]["new"]["precision_high"] < PROMISED


def test_a_precision_that_is_below_by_chance_does_not_fail():
    verdict = judged(ROWS, {"base": NOBODY, "recency": SOUND, "new": (17, 83)})

    found = verdict.figures["answers"]["new"]
    assert found["precision"] < PROMISED < found["precision_high"]
    assert verdict.winner == "new"


def test_without_a_promise_no_precision_is_too_low():
    verdict = judged(ROWS, {"base": NOBODY, "recency": SOUND, "new": (50, 350)}, least=None)

    assert verdict.winner == "new"


@pytest.mark.parametrize(
    ("recency", "stands_in"), [(SOUND, "recency"), ((50, 350), "base"), (NOBODY, "base")]
)
def test_without_a_champion_a_sound_baseline_stands_in_and_else_the_floor(recency, stands_in):
    verdict = judged(ROWS, {"base": NOBODY, "recency": recency, "new": NOBODY})

    assert verdict.winner == stands_in
    assert verdict.reason.startswith("no champion; it says yes to 0 rows")
    assert verdict.reason.endswith(f"{stands_in} stands in")


def test_a_baseline_must_be_calibrated_as_well_to_stand_in():
    strict = replace(GATE, calibration_bound=0.02)
    rows = gate_rows(base=0, recency=1, new=4)
    rows["base"], rows["recency"] = rows["label"].mean(), 0.9 * rows["recency"] + 0.1

    verdict = judged(rows, {"base": NOBODY, "recency": SOUND, "new": NOBODY}, gate=strict)

    assert verdict.winner == "base"


def test_the_champion_stays_if_the_challenger_finds_nobody():
    rows = gate_rows(base=0, recency=1, old=1, new=4)

    verdict = judged(
        rows,
        {"base": NOBODY, "recency": SOUND, "old": SOUND, "new": NOBODY},
        champion="old",
        champion_age_days=400,
    )

    assert verdict.figures["gain"]["low"] > 0
    assert verdict.winner == "old"
    assert "finds no positive" in verdict.reason


def test_a_better_challenger_goes_before_a_champion_though_that_one_finds_more():
    rows = gate_rows(base=0, recency=1, old=1, new=4)

    verdict = judged(
        rows,
        {"base": NOBODY, "recency": SOUND, "old": (90, 100), "new": SOUND},
        champion="old",
    )

    assert verdict.winner == "new"
    assert verdict.figures["answers"]["old"]["recall"] == pytest.approx(90 / rows["label"].sum())


def test_yeses_of_one_client_are_drawn_together():
    rows = pd.concat([ROWS] * 4, ignore_index=True)
    yes = {"base": (0, 0), "recency": (200, 400), "new": (64, 336)}

    together = judged(rows.sort_values("client_id", ignore_index=True), yes)
    apart = judged(
        rows.sort_values("client_id", ignore_index=True).assign(client_id=range(4 * CLIENTS)), yes
    )

    # 16 % of 400 rows: surely less than promised of 400 clients, by chance less of 100.
    assert apart.winner == "recency"
    assert together.winner == "new"
