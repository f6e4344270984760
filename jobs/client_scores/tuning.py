"""Parameters tried under a budget, in a study that Postgres keeps; a killed training goes on."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from sqlalchemy import Engine, text
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:  # takes a second
    import optuna

SCHEMA = "optuna"
LOCK = "select pg_advisory_xact_lock(hashtextextended('nightshift optuna', 0))"
SEED = 7
FIRST_STEP_TO_PRUNE = 1


def study(engine: Engine | None, name: str) -> "optuna.Study":
    """Return the study ``name``, with the trials that it has already; without an engine, a new one.

    The larger value is the better one. Trials that do worse than the median of those before them,
    at the same step, are pruned.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = None
    if engine is not None:
        # Two jobs that tune for the first time would both make optuna's tables.
        with engine.begin() as connection:
            connection.execute(text(LOCK))
            storage = optuna.storages.RDBStorage(
                engine.url.render_as_string(hide_password=False),
                engine_kwargs={
                    "connect_args": {"options": f"-c search_path={SCHEMA}"},
                    "poolclass": NullPool,
                },
            )
    return optuna.create_study(
        study_name=name,
        storage=storage,
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=FIRST_STEP_TO_PRUNE),
    )


def study_name(job: str, as_of: date) -> str:
    """Return what the study of a day's training is called."""
    return f"{job}-{as_of}"


def search(
    found: "optuna.Study",
    objective: "Callable[[optuna.Trial], float]",
    trials: int,
    first: Sequence[Mapping[str, object]],
    seed: int = SEED,
) -> None:
    """Try parameters until ``found`` has so many trials done or pruned.

    ``first`` are tried before any others. Each trial's draws depend on its number alone, so a
    study that goes on after a kill ends as one that was never interrupted.
    """
    import optuna

    done = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    for number in range(len(found.get_trials(states=done, deepcopy=False)), trials):
        # A trial in flight is that of a killed run, and counts for nothing.
        found.sampler = optuna.samplers.TPESampler(seed=seed + number)
        if number < len(first):
            found.enqueue_trial(dict(first[number]), skip_if_exists=False)
        found.optimize(objective, n_trials=1)


__all__ = ["search", "study", "study_name"]
