"""Parameters tried under a budget: a search that was killed ends as one that was not."""

from functools import partial

import optuna
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from jobs.client_scores import tuning
from jobs.settings import BadSetting

FIRST = [{"x": 0.9}, {"x": 0.1}]


def found_by(study: optuna.Study, trials: int) -> dict[str, float]:
    """Return the best parameters of a search for the top of a hill, worse trials pruned."""

    def hill(trial: optuna.Trial) -> float:
        height = -((trial.suggest_float("x", 0, 1) - 0.3) ** 2)
        for step in range(3):
            trial.report(height, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return height

    tuning.search(study, hill, trials, FIRST)
    return study.best_params


def tried(study: optuna.Study) -> list[tuple]:
    over = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return [(trial.state.name, trial.params) for trial in study.get_trials(states=over)]


@pytest.fixture
def studies(warehouse):
    return partial(tuning.study, warehouse)


@pytest.mark.parametrize("killed_after", [1, 5, 12])
def test_a_search_killed_halfway_ends_as_one_run_through(studies, warehouse, killed_after):
    through = found_by(studies("through"), 14)

    found_by(studies("killed"), killed_after)
    in_flight = optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        params={"x": 0.36},
        distributions={"x": optuna.distributions.FloatDistribution(0, 1)},
        intermediate_values={0: 9.0},
    )
    studies("killed").add_trial(in_flight)
    best = found_by(studies("killed"), 14)

    assert best == through
    assert tried(studies("killed")) == tried(studies("through"))
    assert {state for state, _ in tried(studies("killed"))} == {"COMPLETE", "PRUNED"}
    with warehouse.connect() as connection:
        names = connection.execute(text("select study_name from optuna.studies order by 1"))
        assert list(names.scalars()) == ["killed", "through"]


def test_a_search_killed_before_its_first_trial_ends_as_one_run_through(studies):
    found_by(studies("through"), 6)

    studies("killed").enqueue_trial(FIRST[0])
    found_by(studies("killed"), 6)

    assert tried(studies("killed")) == tried(studies("through"))


def test_a_search_that_is_done_tries_nothing_more(studies, warehouse):
    found_by(studies("done"), 4)

    found_by(studies("done"), 4)

    assert len(tried(studies("done"))) == 4
    with warehouse.connect() as connection:
        count = connection.execute(text("select count(*) from optuna.trials")).scalar_one()
    assert count == 4


def test_what_the_database_said_is_told_as_it_said_it(studies, warehouse):
    study = studies("broken")

    def breaks(trial: optuna.Trial) -> float:
        with warehouse.begin() as connection:
            connection.execute(text("drop table optuna.trial_params cascade"))
        return trial.suggest_float("x", 0, 1)

    with pytest.raises(ProgrammingError, match="trial_params"):
        tuning.search(study, breaks, 1, [])


def test_a_setting_says_how_many_are_tried(monkeypatch):
    monkeypatch.delenv(tuning.BUDGET, raising=False)
    assert tuning.budget(8) == 8
    monkeypatch.setenv(tuning.BUDGET, "3")
    assert tuning.budget(8) == 3


@pytest.mark.parametrize("written", ["0", "-1", "many", "2.5"])
def test_a_budget_that_is_no_number_is_told(monkeypatch, written):
    monkeypatch.setenv(tuning.BUDGET, written)

    with pytest.raises(BadSetting, match=f"{tuning.BUDGET} is '{written}'; expected a number"):
        tuning.budget(8)
