"""Purchase propensity: what the job declares; its nights are those of jobs/client_scores."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.calibration import Calibration
from jobs.champion import Gate
from jobs.client_scores import night
from jobs.client_scores.client_job import ClientJob
from jobs.client_scores.slices import Slices
from jobs.client_scores.training import train as train_day
from jobs.purchase_propensity import baselines, explanation, labels, model, training
from jobs.purchase_propensity.model import Fitted

JOB = "purchase_propensity"
# docs/gate.md has the power of this gate, from which margin, cadence and age were chosen.
GATE = Gate(
    job=JOB,
    metric="roc_auc",
    horizon_days=labels.HORIZON_DAYS,
    margin=0.01,
    max_age_days=30,
    cadence_days=7,
    calibration_bound=0.02,
    unit="client_id",
)
TRIALS = 8


def fit(slices: Slices, params: Mapping[str, float], gate_rows: pd.DataFrame) -> dict[str, Fitted]:
    """Return the model and every baseline, fitted on the slices, by name."""
    return {
        "model": training.fit(slices, params, gate_rows),
        **baselines.fit_all(slices, gate_rows),
    }


def probabilities(
    fitted: Fitted, rows: pd.DataFrame, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """Return each row's chance of a purchase."""
    return model.score(fitted, rows, calibration)["probability"].to_numpy()


def contributions(fitted: Fitted, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what each feature adds to the calibrated log-odds, and the features' values."""
    moved, _ = explanation.contributions(fitted, rows)
    return moved * fitted.calibration.slope, explanation.features(fitted, rows)


DECLARED = ClientJob(
    gate=GATE,
    cutoffs=labels.CUTOFFS,
    label=labels.LABEL,
    shape=explanation.SHAPE,
    staged=explanation.STAGED,
    trials=TRIALS,
    tune=training.tune,
    fit=fit,
    calibrate=training.calibrate,
    probabilities=probabilities,
    explain=explanation.explain,
    contributions=contributions,
    save=model.save,
    load=model.load,
)
run = partial(night.run, DECLARED)
train = partial(train_day, DECLARED)
score = partial(night.score, DECLARED)
publish = partial(night.publish, DECLARED)
mature = partial(night.mature, DECLARED)
visualize = partial(night.visualize, DECLARED)
