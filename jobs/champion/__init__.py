"""Model life: log a training, gate it, make it live, roll it back, see how it did.

``tracking`` is MLflow and the files that serve, ``gate`` the pure rule, ``promotion`` the rows
that say which version is live on which day, ``serving`` what a version needs to serve a day,
``observed`` the quality measured.
"""

from jobs.champion.gate import Gate, Verdict, judge
from jobs.champion.observed import mature, measure, record_evaluation
from jobs.champion.promotion import (
    Change,
    Decision,
    affected_days,
    decide,
    live_version,
    promote,
    record_tuning,
    rollback,
    tuned,
    versions,
)
from jobs.champion.serving import calibration, require_fit_for, settle_calibration
from jobs.champion.tracking import (
    ArtifactChanged,
    MlflowUnreachable,
    Version,
    baseline_version,
    baselines_beside,
    described,
    load_model,
    log,
    next_version,
    register,
    run_link,
    sync_alias,
    trained_version,
    training_run,
)

__all__ = [
    "ArtifactChanged",
    "Change",
    "Decision",
    "Gate",
    "MlflowUnreachable",
    "Verdict",
    "Version",
    "affected_days",
    "baseline_version",
    "baselines_beside",
    "calibration",
    "decide",
    "described",
    "judge",
    "live_version",
    "load_model",
    "log",
    "mature",
    "measure",
    "next_version",
    "promote",
    "record_evaluation",
    "record_tuning",
    "register",
    "require_fit_for",
    "rollback",
    "run_link",
    "settle_calibration",
    "sync_alias",
    "trained_version",
    "training_run",
    "tuned",
    "versions",
]
