"""The dumb baselines: fitted on the model's rows, calibrated as it is, with the same interface.

Each is a ``Fitted`` without trees, so ``model.score``, ``save`` and ``load`` take it, and so does
``explanation.explain``; any of them can be published if it wins.
"""

from dataclasses import replace

import pandas as pd

from jobs.calibration import Calibration
from jobs.client_scores.linear import fit_linear
from jobs.client_scores.slices import Slices
from jobs.purchase_propensity.features import terms_of
from jobs.purchase_propensity.model import Fitted
from jobs.purchase_propensity.training import calibrate, fit_rhythm, forecast_share

TERMS: dict[str, tuple[str, ...]] = {
    "base_rate": (),
    "recency": ("days_since_purchase", "never_bought"),
    "rfm_logistic": (
        *("days_since_purchase", "purchase_days", "spent", "tenure_days", "purchase_days_30d"),
        *("purchase_days_90d", "lines_bought", "spent_90d", "never_bought"),
    ),
    "bg_nbd": ("rhythm_log_odds", "never_bought"),
}
NAMES = tuple(TERMS)
RIDGE = 1e-4


def fit(
    name: str,
    slices: Slices,
    current: pd.DataFrame | None = None,
    share: float | None = None,
) -> Fitted:
    """Return the baseline ``name`` of NAMES, fitted and calibrated as the model is.

    - ``base_rate``: everybody has the same chance.
    - ``recency``: logistic regression on the logarithm of the days since the last purchase.
    - ``rfm_logistic``: logistic regression on logarithms of recency, frequency, money and age.
    - ``bg_nbd``: BG/NBD's chance of a purchase in the horizon; who never bought has their own rate.

    Args:
        name: which.
        slices: what `slices.split` returns.
        current: as in ``training.fit``.
        share: as in ``training.calibrate``.

    Raises:
        NothingToLearnFrom: if a slice has a single label.
    """
    train = slices.train
    labels = train["bought"].to_numpy(dtype=float)
    rhythm = fit_rhythm(train) if name == "bg_nbd" else None
    linear = fit_linear(terms_of(rhythm, train), labels, RIDGE, TERMS[name])
    fitted = Fitted(name, linear, rhythm, Calibration())
    return replace(fitted, calibration=calibrate(fitted, slices.calibration, current, share))


def fit_all(slices: Slices, current: pd.DataFrame | None = None) -> dict[str, Fitted]:
    """Return every baseline by name."""
    share = None if current is None else forecast_share(slices, current)
    return {name: fit(name, slices, current, share) for name in NAMES}


__all__ = ["NAMES", "fit", "fit_all"]
