"""What a client spends within the horizon if they buy."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import GammaRegressor

from jobs.client_scores.linear import Linear, apply_linear, standardisation, standardised
from jobs.client_scores.slices import Slices
from jobs.purchase_propensity.bgnbd import BgNbd
from jobs.purchase_propensity.features import SPEND, terms_of

SPEND_PENALTY = 0.01
SPEND_BUYERS = 200  # fewer say nothing about the spread of spend

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Spend:
    """Spend of buyers: exp of ``log_mean``, at most ``most``, the largest spend seen."""

    log_mean: Linear
    most: float


def fit_spend(rhythm: BgNbd | None, slices: Slices) -> Spend | None:
    """Return a gamma regression of what buyers spend, None where it is no better than their mean.

    Better means a smaller squared error over the buyers of the validation slice.
    """
    terms, spent = _buyers(rhythm, slices.train)
    held_out, held_spent = _buyers(rhythm, slices.validation)
    if len(spent) < SPEND_BUYERS or not len(held_spent):
        return None
    unfitted = standardisation(terms, SPEND)
    regression = GammaRegressor(alpha=SPEND_PENALTY, max_iter=1000)
    regression.fit(standardised(unfitted, terms), spent)
    weights = tuple(regression.coef_.tolist())
    fitted = replace(unfitted, weights=weights, intercept=float(regression.intercept_))
    most = float(spent.max())
    # The log link keeps no total: scale so that the buyers seen spend what they spent.
    scale = spent.sum() / spend_of(Spend(fitted, most), terms).sum()
    spend = Spend(replace(fitted, intercept=fitted.intercept + float(np.log(scale))), most)
    error = np.mean((spend_of(spend, held_out) - held_spent) ** 2)
    return spend if error < np.mean((spent.mean() - held_spent) ** 2) else None


def spend_of(spend: Spend, terms: pd.DataFrame) -> Numbers:
    """Return what each row spends if they buy, from their terms."""
    logs = apply_linear(spend.log_mean, terms)
    capped: Numbers = np.exp(np.minimum(logs, np.log(spend.most)))
    return capped


def _buyers(rhythm: BgNbd | None, rows: pd.DataFrame) -> tuple[pd.DataFrame, Numbers]:
    """Return terms and spend of the rows whose window holds a purchase with a price."""
    buyers = rows[rows["spent_next"].to_numpy(dtype=float) > 0]
    return terms_of(rhythm, buyers), buyers["spent_next"].to_numpy(dtype=float)
