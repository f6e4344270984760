"""Parameters tried under a budget, in a study that Postgres keeps; a killed training goes on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING

from sqlalchemy import Engine, text
from sqlalchemy.pool import NullPool

from jobs import settings

if TYPE_CHECKING:  # takes a second
    import optuna

BUDGET = "NIGHTSHIFT_TUNING_TRIALS"
SCHEMA = "optuna"
LOCK = "select pg_advisory_xact_lock(hashtextextended('nightshift optuna', 0))"
SEED = 7
STARTUP_TRIALS = 5  # drawn at random before the others teach
FIRST_STEP_TO_PRUNE = 1


@contextmanager
def _storage_failures() -> Iterator[None]:
    """Raise what the database said, which optuna takes for invalid data."""
    import optuna

    try:
        yield
    except Exception as error:
        met: BaseException | None = error
        # It may stumble once more on its way out.
        while met and not isinstance(met, optuna.exceptions.StorageInternalError):
            met = met.__cause__ or met.__context__
        if met and met.__cause__:
            raise met.__cause__ from error
        raise


@_storage_failures()
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
                    "connect_args": {
                        "options": f"-c search_path={SCHEMA}",
                        "connect_timeout": 10,
                    },
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


def budget(default: int) -> int:
    """Return how many parameters are tried: what BUDGET says, or the job's own number.

    Raises:
        BadSetting: if it is no number, or less than 1.
    """
    written = settings.setting(BUDGET, str(default))
    if not written.isdecimal() or int(written) < 1:
        raise settings.BadSetting(
            f"{BUDGET} is {written!r}; expected a number of trials, 1 or more"
        )
    return int(written)


def study_name(job: str, as_of: date) -> str:
    """Return what the study of a day's training is called."""
    return f"{job}-{as_of}"


@_storage_failures()
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
    for trial in found.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        # Only one training of a day is at work: this is a killed one's, and must count for nothing.
        found.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    for number in range(len(found.get_trials(states=done, deepcopy=False)), trials):
        found.sampler = optuna.samplers.TPESampler(
            n_startup_trials=STARTUP_TRIALS, seed=seed + number
        )
        # One that waits was put there before a kill, and is this very one.
        waiting = found.get_trials(states=(optuna.trial.TrialState.WAITING,), deepcopy=False)
        if number < len(first) and not waiting:
            found.enqueue_trial(dict(first[number]))
        found.optimize(objective, n_trials=1)


__all__ = ["budget", "search", "study", "study_name"]
