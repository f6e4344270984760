"""How the arms of an experiment did: sums of users in, rates with intervals and verdicts out.

Users are what was drawn for an arm, so users are the units: a rate is a ratio of sums over users,
and its variance is that of the delta method (Deng, Knoblich, Lu: Applying the Delta Method in
Metric Analytics, KDD 2018), which allows for views of one user being alike.
"""

from collections.abc import Hashable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95
# Below this the sample-ratio check says that split or log is broken, and nothing is concluded.
SAMPLE_RATIO_ALARM = 0.001
# With fewer users in an arm the normal approximation is not to be trusted.
LEAST_USERS = 30
# metric -> numerator, denominator, their squares and product among the sums
METRICS = {
    "like_rate": ("likes", "views", "likes_squared", "views_squared", "views_likes"),
    "user_like_share": ("likers", "users", "likers", "users", "likers"),
    "hitrate_5": ("hits", "impressions", "hits_squared", "impressions_squared", "impressions_hits"),
}
DAILY = (
    "experiment", "arm", "event_day", "users", "impressions", "views", "likes",
    *(f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")),
    "users_in_both", "planned_share", "sample_ratio_p", "sample_ratio_alarm",
)  # fmt: skip
RESULT = (
    "experiment", "arm", "metric", "compared_with", "is_primary", "first_day", "last_day", "users",
    "users_compared", "value", "value_compared", "difference", "low", "high", "p_value",
    "users_in_both", "sample_ratio_p", "sample_ratio_alarm", "verdict",
)  # fmt: skip


class Rate(NamedTuple):
    """A ratio of sums over users.

    Attributes:
        value: the ratio; nan where the denominator is 0.
        variance: of the ratio, between samples of users; nan below two users.
    """

    value: float
    variance: float


class Difference(NamedTuple):
    """One rate minus another, with its 95 % interval and two-sided p-value."""

    value: float
    low: float
    high: float
    p_value: float


NO_DIFFERENCE = Difference(np.nan, np.nan, np.nan, np.nan)


def rate(
    users: float, y: float, x: float, y_squared: float, x_squared: float, product: float
) -> Rate:
    """Return sum(y) / sum(x) over ``users`` users, from the sums of y, x, y^2, x^2 and x * y.

    With r = sum(y) / sum(x), the variance is n / (n - 1) * sum((y - r x)^2) / sum(x)^2.
    """
    if not x:
        return Rate(np.nan, np.nan)
    value = y / x
    if users < 2:
        return Rate(value, np.nan)
    residuals = y_squared - 2 * value * product + value**2 * x_squared
    return Rate(value, max(0.0, residuals) * users / (users - 1) / x**2)


def interval(found: Rate) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a rate, within [0, 1]; nan where nothing varies."""
    if not found.variance > 0:
        return np.nan, np.nan
    half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * np.sqrt(found.variance)
    return max(0.0, found.value - half), min(1.0, found.value + half)


def difference(one: Rate, other: Rate) -> Difference:
    """Return ``one`` minus ``other``; interval and p-value are nan where nothing varies."""
    value, variance = one.value - other.value, one.variance + other.variance
    if not variance > 0:
        return Difference(value, np.nan, np.nan, np.nan)
    error = np.sqrt(variance)
    half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * error
    p_value = float(2 * stats.norm.sf(abs(value) / error))
    return Difference(value, value - half, value + half, p_value)


def sample_ratio(assigned: "pd.Series[float]", expected: "pd.Series[float]") -> float:
    """Return the chi-square p-value of user counts against those that the split plans.

    It is 0 where somebody is in an arm that the split gives nobody, nan for fewer than two arms.
    """
    given = expected > 0
    if assigned[~given].any():
        return 0.0
    if given.sum() < 2:
        return np.nan
    return float(stats.chisquare(assigned[given], expected[given]).pvalue)


def daily(sums: pd.DataFrame, event_day: object) -> pd.DataFrame:
    """Return one row per experiment and arm (columns DAILY) from the sums of one day."""
    made = []
    for experiment, arms in sums.groupby("experiment", sort=True):
        ratio = sample_ratio(arms["assigned"], arms["expected"])
        for each in arms.to_dict("records"):
            row = {
                **{name: each[name] for name in ("arm", "users", "impressions", "views", "likes")},
                "experiment": experiment,
                "event_day": event_day,
                "users_in_both": arms["users_in_both"].sum(),
                "planned_share": each["expected"] / arms["expected"].sum(),
                "sample_ratio_p": ratio,
                "sample_ratio_alarm": ratio < SAMPLE_RATIO_ALARM,
            }
            for metric in METRICS:
                found = _rate(each, metric)
                row[metric] = found.value
                enough = each["users"] >= LEAST_USERS
                ends = interval(found) if enough else (np.nan, np.nan)
                row[f"{metric}_low"], row[f"{metric}_high"] = ends
            made.append(row)
    return pd.DataFrame(made, columns=list(DAILY))


def result(sums: pd.DataFrame, last_day: object) -> pd.DataFrame:
    """Return one row per experiment, arm but the first and metric (columns RESULT).

    Where the sample ratio rings the alarm no effect is stated: difference, interval and p-value
    are missing, and the verdict says so.
    """
    made = []
    for experiment, arms in sums.groupby("experiment", sort=True):
        ratio = sample_ratio(arms["assigned"], arms["expected"])
        alarm = ratio < SAMPLE_RATIO_ALARM
        first, *others = arms.sort_values(["place", "arm"]).to_dict("records")
        for each in others:
            enough = min(each["users"], first["users"]) >= LEAST_USERS
            for metric in METRICS:
                ours, theirs = _rate(each, metric), _rate(first, metric)
                found = NO_DIFFERENCE if alarm else difference(ours, theirs)
                if not enough:
                    found = found._replace(low=np.nan, high=np.nan, p_value=np.nan)
                made.append(
                    {
                        "experiment": experiment,
                        "arm": each["arm"],
                        "metric": metric,
                        "compared_with": first["arm"],
                        "is_primary": metric == each["primary_metric"],
                        "first_day": each["first_day"],
                        "last_day": last_day,
                        "users": each["users"],
                        "users_compared": first["users"],
                        "value": ours.value,
                        "value_compared": theirs.value,
                        "difference": found.value,
                        "low": found.low,
                        "high": found.high,
                        "p_value": found.p_value,
                        "users_in_both": arms["users_in_both"].sum(),
                        "sample_ratio_p": ratio,
                        "sample_ratio_alarm": alarm,
                        "verdict": "not to be read" if alarm else _verdict(found),
                    }
                )
    return pd.DataFrame(made, columns=list(RESULT))


def _rate(sums: Mapping[Hashable, float], metric: str) -> Rate:
    return rate(sums["users"], *(sums[name] for name in METRICS[metric]))


def _verdict(found: Difference) -> str:
    if np.isnan(found.p_value):
        return "too little data"
    if found.low > 0:
        return "better"
    return "worse" if found.high < 0 else "no difference shown"
