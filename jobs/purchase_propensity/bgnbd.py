"""BG/NBD: buy-till-you-die, from purchase days alone.

Fader, Hardie and Lee (2005), "Counting your customers" the easy way, Marketing Science 24(2). While
alive a client buys at a rate of their own (gamma distributed over clients), and after each purchase
leaves for good with a chance of their own (beta distributed). Needed per client are only the number
of repeat purchases ``x``, the age ``tx`` at the last purchase and the age ``age`` now.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import betaln, expit, gammaln

from jobs.calibration import NothingToLearnFrom

START = np.log([0.3, 1.0, 0.8, 2.5])  # any start converges; this is near shops in general
WEIGHT_OF_PRIOR = 1e-6  # keeps parameters finite where the data do not bound them
FITTED_CLIENTS = 100_000  # four numbers need no more
SEED = 7

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class BgNbd:
    """Rates are gamma(r, alpha) per day; chances to leave after a purchase are beta(a, b)."""

    r: float
    alpha: float
    a: float
    b: float


def fit(x: Numbers, tx: Numbers, age: Numbers) -> BgNbd:
    """Return the parameters of highest likelihood (equation 6 of the paper).

    Args:
        x: repeat purchases (distinct days after the first).
        tx: age in days at the last purchase, 0 where x is 0.
        age: days since the first purchase, above 0.

    Raises:
        NothingToLearnFrom: if there is no client, or an impossible one.
    """
    if not len(x) or (age <= 0).any() or (tx > age).any() or (x < 0).any():
        raise NothingToLearnFrom(f"BG/NBD needs 0 <= tx <= age and x >= 0; found {len(x)} clients")
    if len(x) > FITTED_CLIENTS:
        drawn = np.random.default_rng(SEED).choice(len(x), FITTED_CLIENTS, replace=False)
        x, tx, age = x[drawn], tx[drawn], age[drawn]
    unit = float(age.max()) / 10  # days are too fine a unit for the optimiser

    def loss(logs: Numbers) -> float:
        # Clients who all do the same have no finite best; the optimiser then tries anything.
        scaled = BgNbd(*np.exp(np.clip(logs, -30, 30)).tolist())
        alive, left = _likelihoods(scaled, x, tx / unit, age / unit)
        return float(WEIGHT_OF_PRIOR * logs @ logs - np.logaddexp(alive, left).mean())

    r, alpha, a, b = np.exp(minimize(loss, START, method="L-BFGS-B").x).tolist()
    return BgNbd(r, alpha * unit, a, b)


def chance_alive(model: BgNbd, x: Numbers, tx: Numbers, age: Numbers) -> Numbers:
    """Return the chance that each client has not left; 1 without a repeat purchase."""
    alive, left = _likelihoods(model, x, tx, age)
    chance: Numbers = expit(alive - left)
    return chance


def chance_to_buy(model: BgNbd, x: Numbers, tx: Numbers, age: Numbers, days: float) -> Numbers:
    """Return the chance of at least one purchase in the next ``days``.

    Alive now, a client buys nothing for t days with chance exp(-rate * t); over the gamma
    posterior of the rate, gamma(r + x, alpha + age), that is ((alpha + age) / (alpha + age + t))
    ^ (r + x).
    """
    silent = (model.r + x) * -np.log1p(days / (model.alpha + age))
    return chance_alive(model, x, tx, age) * -np.expm1(silent)


def _likelihoods(model: BgNbd, x: Numbers, tx: Numbers, age: Numbers) -> tuple[Numbers, Numbers]:
    """Return log-likelihoods of each client's purchases: and alive, and left after the last."""
    r, alpha, a, b = model.r, model.alpha, model.a, model.b
    rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    alive = rate + betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + age)
    repeated = np.maximum(x, 1)
    left = rate + betaln(a + 1, b + repeated - 1) - betaln(a, b) - (r + x) * np.log(alpha + tx)
    return alive, np.where(x > 0, left, -np.inf)
