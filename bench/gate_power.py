"""How often the gate finds a better model, and how often it is fooled: a simulation.

    python bench/gate_power.py [--nights 500] [--judged 60]

One simulated night: clients of whom 2 % are positive, scores of champion and challenger that are
normal within each class (binormal ROC curves) and correlated, and the gate's rules on the paired
interval of the gain in ROC AUC. Thousands of nights need a quick interval: DeLong's (DeLong,
DeLong and Clarke-Pearson 1988, by sorting as in Sun and Xu 2014); one table sends the same nights
through the gate itself, bootstrap and all, to show that the two agree.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

sys.path.insert(0, str(Path(__file__).parents[1]))
from jobs import evaluation
from jobs.champion import gate

SEED = 7
POSITIVES = 0.02
# A champion as good as those on the real apparel tables (ROC AUC .72 to .83).
AUC = 0.78
# Within each class, how alike the two models' scores are, and how much a retrained model's true
# gain varies from night to night. The two reproduce the measured power of 28 % and 93 %; without
# the second no correlation gives both, since noise that only shrinks with rows couples them.
CORRELATION = 0.96
TRAINING_NOISE = 0.002
SIZES = (10_000, 100_000)
MARGINS = (0.005, 0.01, 0.02)
Z95 = norm.ppf(0.975)
LABEL_DAYS = 90
YEAR_DAYS = 365


def night(rng: np.random.Generator, clients: int, gain: float) -> tuple[np.ndarray, ...]:
    """Return labels, champion's and challenger's scores of one night's clients.

    The challenger's true ROC AUC is AUC + ``gain``.
    """
    labels = np.zeros(clients, dtype=bool)
    labels[: round(clients * POSITIVES)] = True
    shifts = norm.ppf([AUC, AUC + gain]) * np.sqrt(2)
    champion = rng.standard_normal(clients)
    own = rng.standard_normal(clients)
    challenger = CORRELATION * champion + np.sqrt(1 - CORRELATION**2) * own
    return labels, champion + shifts[0] * labels, challenger + shifts[1] * labels


def delong(labels: np.ndarray, champion: np.ndarray, challenger: np.ndarray) -> tuple[float, float]:
    """Return the challenger's gain in ROC AUC and its standard error (scores without ties)."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    by_positive, by_negative = [], []
    for score in (champion, challenger):
        above, below = score[labels], score[~labels]
        by_positive.append(np.searchsorted(np.sort(below), above) / negatives)
        by_negative.append(1 - np.searchsorted(np.sort(above), below) / positives)
    first, second = by_positive[1] - by_positive[0], by_negative[1] - by_negative[0]
    error = np.sqrt(first.var(ddof=1) / positives + second.var(ddof=1) / negatives)
    return float(first.mean()), float(error)


def gains(
    rng: np.random.Generator, clients: int, gain: float, noise: float, nights: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return measured gain and standard error of each of ``nights`` nights."""
    drawn = gain + noise * rng.standard_normal(nights)
    found = [delong(*night(rng, clients, true)) for true in drawn]
    measured, errors = zip(*found, strict=True)
    return np.array(measured), np.array(errors)


def power(nights: int) -> Iterator[dict[str, object]]:
    """Yield, per size and true gain, the share of nights each rule promotes."""
    rng = np.random.default_rng(SEED)
    for clients in SIZES:
        for gain, noise in (
            (0.007, TRAINING_NOISE),
            (0.007, 0.0),
            (0.015, TRAINING_NOISE),
            (0.0, 0.0),
            (-0.005, 0.0),
            (-0.01, 0.0),
            (-0.02, 0.0),
        ):
            measured, errors = gains(rng, clients, gain, noise, nights)
            low = measured - Z95 * errors
            yield {
                "clients": clients,
                "true gain": gain,
                "its sd": noise,
                "s.e.": errors.mean(),
                "better": np.mean(low > 0),
                "margin .005": np.mean(low > -0.005),
                "margin .01": np.mean(low > -0.01),
                "margin .02": np.mean(low > -0.02),
            }


def over_time(years: int) -> Iterator[dict[str, object]]:
    """Yield, per cadence and true gain in standard errors, how often a year of decisions errs.

    The same pair of recipes is compared at each decision; label windows of 90 days overlap, so
    the measured gains of two nights ``d`` days apart share 1 - d/90 of their noise (a moving sum
    of daily noise). This is the worst case: retraining makes the nights differ more.
    """
    rng = np.random.default_rng(SEED)
    daily = rng.standard_normal((years, YEAR_DAYS + LABEL_DAYS))
    summed = np.cumsum(daily, axis=1)
    noise = (summed[:, LABEL_DAYS:] - summed[:, :-LABEL_DAYS]) / np.sqrt(LABEL_DAYS)
    for cadence in (1, 7, 30, 90):
        decisions = noise[:, ::cadence]
        above = decisions > Z95
        yield {
            "cadence, days": cadence,
            "decisions a year": decisions.shape[1],
            "false promotions a year": above.sum(axis=1).mean(),
            "years with any": above.any(axis=1).mean(),
        }


def refresh(years: int) -> Iterator[dict[str, object]]:
    """Yield how soon a champion gives way at weekly decisions, by size, margin and true gain."""
    rng = np.random.default_rng(SEED)
    errors = {n: gains(rng, n, 0.0, 0.0, 20)[1].mean() for n in SIZES}
    daily = rng.standard_normal((years, YEAR_DAYS + LABEL_DAYS))
    summed = np.cumsum(daily, axis=1)
    weekly = ((summed[:, LABEL_DAYS:] - summed[:, :-LABEL_DAYS]) / np.sqrt(LABEL_DAYS))[:, ::7]
    for clients, error in errors.items():
        # margin 0 is the rule for a champion that is not old
        for margin, gain in ((0.0, 0.007), *((m, g) for m in MARGINS for g in (0.0, -m))):
            passed = gain + error * weekly - Z95 * error > -margin
            yield {
                "clients": clients,
                "margin": margin,
                "true gain": gain,
                "at the first": passed[:, 0].mean(),
                "within 4 weeks": passed[:, :4].any(axis=1).mean(),
                "within 13 weeks": passed[:, :13].any(axis=1).mean(),
            }


def agreement(nights: int) -> Iterator[dict[str, object]]:
    """Yield how often the gate itself promotes, beside DeLong's interval on the same nights."""
    rng = np.random.default_rng(SEED)
    rules = gate.Gate("simulated", "roc_auc", LABEL_DAYS, 0.01, 28, 7, None, "client_id")
    clients = SIZES[0]
    for gain in (0.0, 0.007, 0.015):
        by_gate, by_delong, widths = [], [], []
        for _ in range(nights):
            labels, old, new = night(rng, clients, gain)
            measured, error = delong(labels, old, new)
            frame = pd.DataFrame({"client_id": np.arange(clients), "label": labels.astype(int)})
            # a probability of the same order, as the gate wants one
            frame = frame.assign(old=norm.cdf(old), new=norm.cdf(new), base=POSITIVES)
            verdict = gate.judge(rules, frame, "new", {"base": "base_rate"}, "old")
            found = verdict.figures["gain"]
            by_gate.append(verdict.winner == "new")
            by_delong.append(measured > Z95 * error)
            widths.append((found["high"] - found["low"]) / (2 * Z95 * error))
        yield {
            "clients": clients,
            "true gain": gain,
            "nights": nights,
            "gate": np.mean(by_gate),
            "DeLong": np.mean(by_delong),
            "width, gate / DeLong": np.mean(widths),
        }


def calibration(nights: int) -> Iterator[dict[str, object]]:
    """Yield the expected calibration error that chance alone, or a plain bias, shows."""
    rng = np.random.default_rng(SEED)
    for clients in SIZES:
        for bias in (1.0, 1.25, 1.5, 2.0):
            errors = []
            for _ in range(nights):
                # Log-odds spread so that a perfect model has a ROC AUC of about AUC.
                chance = 1 / (1 + np.exp(-rng.normal(-4.5, 1.15, clients)))
                chance *= POSITIVES / chance.mean()
                labels = (rng.random(clients) < chance).astype(int)
                errors.append(evaluation.metrics(labels, np.minimum(chance * bias, 1))["ece"])
            yield {
                "clients": clients,
                "predicted / true": bias,
                "mean": np.mean(errors),
                "1 %": np.quantile(errors, 0.01),
                "99 %": np.quantile(errors, 0.99),
            }


def main() -> None:
    """Print every table as markdown, as docs/gate.md quotes them."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--nights", type=int, default=500, help="nights of each power figure")
    arguments.add_argument("--judged", type=int, default=60, help="nights sent through the gate")
    given = arguments.parse_args()
    for title, table in (
        ("Share of nights that promote, by rule", power(given.nights)),
        ("Equal models for a year, by cadence", over_time(10_000)),
        ("A champion giving way at weekly decisions", refresh(10_000)),
        ("The gate's own bootstrap beside DeLong", agreement(given.judged)),
        ("Expected calibration error by chance", calibration(200)),
    ):
        started = time.monotonic()
        rows = list(table)
        print(f"\n### {title}\n")
        print(f"| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
        for row in rows:
            print(f"| {' | '.join(_shown(value) for value in row.values())} |")
        print(f"\n({time.monotonic() - started:.0f} s)", flush=True)


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}".rstrip("0").rstrip(".")


if __name__ == "__main__":
    main()
