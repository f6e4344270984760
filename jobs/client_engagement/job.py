"""Client engagement: what the job declares; its nights are those of jobs/client_scores."""

from collections.abc import Mapping
from datetime import date
from functools import partial

import pandas as pd
from sqlalchemy import Connection

from jobs.champion import Gate
from jobs.client_engagement import explanation, labels, model, pictures, tables, training
from jobs.client_engagement.model import Fitted
from jobs.client_scores import night, reasons
from jobs.client_scores.client_job import ClientJob
from jobs.client_scores.slices import Slices
from jobs.client_scores.threshold import Aim, aim_of, says_yes
from jobs.client_scores.training import train as train_day

JOB = "client_engagement"
# The primary metric is of the few who engage: ROC AUC is easily high where they are so few.
GATE = Gate(
    job=JOB,
    metric="pr_auc",
    horizon_days=labels.HORIZON_DAYS,
    margin=0.01,
    max_age_days=14,
    cadence_days=7,
    calibration_bound=0.02,
    unit="client_id",
)
TRIALS = 9
# Ten times the usual rate: one in five of those named clicks, where one in fifty of all does.
AIM = "precision 0.2"


def aim() -> Aim:
    """Return what a threshold is chosen for; NIGHTSHIFT_CLIENT_ENGAGEMENT_AIM says so."""
    return aim_of(JOB, AIM)


def least_precision(fitted: Fitted) -> float | None:
    """Return the lower end of the precision that a model promises, None where its aim is another.

    Not the aim itself: the threshold was chosen on rows that are as few as the gate's, and a model
    that is right about its chances would be refused every tenth night.
    """
    promised = fitted.threshold
    return promised.precision_low if promised.aim.startswith("precision") else None


def fit(slices: Slices, params: Mapping[str, float], gate_rows: pd.DataFrame) -> dict[str, Fitted]:
    """Return the chosen model and every baseline, by name."""
    return training.fit_all(slices, params, gate_rows, aim())


def record(connection: Connection, version: str, as_of: date, fitted: Fitted) -> None:
    """Write the bench and the multicollinearity of a training into their tables."""
    assert fitted.bench is not None
    assert fitted.vif is not None
    tables.write(connection, version, as_of, fitted.bench, fitted.vif)


DECLARED = ClientJob(
    gate=GATE,
    cutoffs=labels.CUTOFFS,
    label=labels.LABEL,
    shape=reasons.SHAPE,
    staged=reasons.SCHEMA,
    trials=TRIALS,
    tune=training.tune,
    fit=fit,
    calibrate=training.calibrate,
    probabilities=model.probabilities,
    explain=explanation.explain,
    contributions=explanation.contributions,
    save=model.save,
    load=model.load,
    label_by={"engaged_by": list(labels.ENGAGED_BY)},
    says_yes=lambda fitted, chances: says_yes(fitted.threshold, chances),
    least_precision=least_precision,
    keeps=lambda fitted: fitted.threshold.kept(),
    record=record,
    pictures=pictures.draw,
)
run = partial(night.run, DECLARED)
train = partial(train_day, DECLARED)
score = partial(night.score, DECLARED)
publish = partial(night.publish, DECLARED)
mature = partial(night.mature, DECLARED)
visualize = partial(night.visualize, DECLARED)
