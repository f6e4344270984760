"""The gate where a version foretells more than its primary metric measures."""

import numpy as np
import pandas as pd
import pytest

from jobs.champion import Gate
from jobs.champion.gate import judge

GATE = Gate(
    job="toy",
    metric="next_log_loss",
    horizon_days=30,
    margin=0.01,
    max_age_days=30,
    cadence_days=7,
    calibration_bound=None,
    unit="client_id",
    per_row=True,
    higher_is_better=False,
)
CLIENTS = 400


def losses(seed: int = 3, **means: float) -> pd.DataFrame:
    """Return each version's losses: alike but for their mean and a little noise."""
    random = np.random.default_rng(seed)
    common = random.exponential(1, CLIENTS)
    found = {name: common + mean + 0.1 * random.random(CLIENTS) for name, mean in means.items()}
    return pd.DataFrame({"client_id": np.arange(CLIENTS), **found})


@pytest.mark.parametrize(("worse_by", "winner"), [(0.2, "old"), (0.0, "new"), (-0.2, "new")])
def test_a_challenger_that_is_surely_worse_by_a_guard_does_not_replace_the_champion(
    worse_by, winner
):
    primary = losses(new=0, old=0.5, base=1)
    guard = losses(seed=4, new=0.5 + worse_by, old=0.5, base=1)

    verdict = judge(
        GATE, primary, "new", {"base": "base_rate"}, "old", guards={"churn_log_loss": guard}
    )

    assert verdict.winner == winner
    assert ("churn_log_loss" in verdict.reason) == (winner == "old")
    gain = verdict.figures["guards"]["churn_log_loss"]
    assert gain["low"] < gain["value"] < gain["high"]
    assert gain["value"] == pytest.approx(-worse_by, abs=0.02)


def test_without_a_champion_it_is_held_against_the_floor():
    primary = losses(new=0, base=1)
    guard = losses(seed=4, new=0.3, base=0)

    verdict = judge(GATE, primary, "new", {"base": "base_rate"}, guards={"churn_log_loss": guard})

    assert verdict.winner == "base"
    assert "churn_log_loss -0.3" in verdict.reason
    assert "over base is surely worse" in verdict.reason


def test_clients_of_a_guard_are_drawn_whole():
    """Many rows of few clients say less than as many clients: what one client does counts once."""
    primary = losses(new=0, old=0.5, base=1)
    few = pd.DataFrame({"client_id": np.repeat([1, 2, 3], 500)})
    few["old"] = 0.0
    few["new"] = np.repeat([1.0, 0.5, -0.4], 500)
    few["base"] = 1.0

    verdict = judge(GATE, primary, "new", {"base": "base_rate"}, "old", guards={"few": few})

    assert verdict.winner == "new"
