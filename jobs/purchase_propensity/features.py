"""What a client's row says: the dataset's columns, and the values and terms made of them."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs import calibration as logistic_map
from jobs.purchase_propensity import bgnbd
from jobs.purchase_propensity.bgnbd import BgNbd
from jobs.purchase_propensity.labels import HORIZON_DAYS

WINDOWS = (7, 30, 90, 180)
CHANNELS = ("email", "mobile_push", "web_push", "sms")

AGES = {
    "seen_days": "Days since the client was first seen",
    "tenure_days": "Days since the first purchase",
    "days_since_purchase": "Days since the last purchase",
}
COUNTS = {
    "purchase_days": "Days with a purchase so far",
    "lines_bought": "Lines bought so far",
    "quantity": "Pieces bought so far",
    "spent": "Spent so far",
    **{f"purchase_days_{w}d": f"Days with a purchase in the last {w} days" for w in WINDOWS},
    **{f"quantity_{w}d": f"Pieces bought in the last {w} days" for w in WINDOWS},
    **{f"spent_{w}d": f"Spent in the last {w} days" for w in WINDOWS},
    "purchase_days_this_season": "Days with a purchase in the coming 90 days, a year ago",
    "category_breadth_365d": "Different categories bought in the last 365 days",
    "tied_campaigns_365d": "Campaigns that led to a purchase in the last 365 days",
    **{
        f"{event}_{w}d": f"{said} in the last {w} days"
        for event, said in {
            "sends": "Messages sent",
            "opens": "Messages opened",
            "clicks": "Messages clicked",
        }.items()
        for w in WINDOWS
    },
    **{
        f"{event}_{channel}_90d": f"{event.capitalize()} by {channel} in the last 90 days"
        for channel in CHANNELS
        for event in ("sends", "opens", "clicks")
    },
    "message_purchases_180d": "Purchases after a message in the last 180 days",
    "closes_180d": "Messages closed in the last 180 days",
    "unsubscribes_180d": "Unsubscribed in the last 180 days",
    "complaints_180d": "Complaints in the last 180 days",
    "hard_bounces_180d": "Messages that could never arrive in the last 180 days",
    "soft_bounces_180d": "Messages that did not arrive in the last 180 days",
}
MEASURES = {
    "gap_mean": "Mean days between purchases",
    "gap_spread": "Spread of the days between purchases",
    "gap_max": "Longest gap between purchases, in days",
    "last_spent": "Spent at the last purchase",
    "last_quantity": "Pieces at the last purchase",
    "price_usual": "Usual price of a line",
    "price_min_365d": "Lowest price paid in the last 365 days",
    "price_max_365d": "Highest price paid in the last 365 days",
    "discount_90d": "Discount of the last 90 days against the client's usual price",
    "discount_last": "Discount of the last purchase against the client's usual price",
    "tied_share_365d": "Share of lines bought after a message in the last 365 days",
    **{
        f"tied_{channel}_share_365d": f"Share of lines bought after a message by {channel}"
        for channel in CHANNELS
    },
    "click_to_purchase_180d": "Purchases per clicked message in the last 180 days",
    "days_since_send": "Days since the last message was sent",
    "days_since_open": "Days since the last message was opened",
    "days_since_click": "Days since the last message was clicked",
    "days_since_unsubscribe": "Days since the client unsubscribed",
}
# Missing would say "bought nothing lately", which in a young shop hardly a training row does.
ABSENT_IS_NONE = ("discount_90d",)
COLUMNS = (*AGES, *COUNTS, *MEASURES)  # what the dataset delivers, beside categories
DERIVED = {
    "never_bought": "1 for a client who never bought",
    "buying_days": "Days from the first to the last purchase",
    "purchase_rate": "Repeat purchases per 90 days of the client's life",
    "recency_to_tenure": "Days since the last purchase, as a share of the client's life",
    "recency_to_gap": "Days since the last purchase, in usual gaps between purchases",
    "recency_to_gap_max": "Days since the last purchase, in longest gaps between purchases",
    "spent_per_day": "Spent per day with a purchase",
    "quantity_per_day": "Pieces per day with a purchase",
    "recent_rate_90d": "Days with a purchase in the last 90 days, per day known in them",
    "recent_rate_180d": "Days with a purchase in the last 180 days, per day known in them",
}
GROUPS = {
    "rhythm": "Chance of a purchase from the rhythm of purchases alone (BG/NBD)",
    "categories": "Which categories the client bought (item2vec); the value is how many",
}
FEATURES: dict[str, str] = {**AGES, **COUNTS, **MEASURES, **DERIVED, **GROUPS}

RHYTHM = ("rhythm_log_odds", "rhythm_alive", "rhythm_rate")
PURCHASE_LOGS = (  # of a client who bought
    *("days_since_purchase", "purchase_days", "spent", "tenure_days", "purchase_days_30d"),
    *("purchase_days_90d", "lines_bought", "quantity", "buying_days", "spent_90d"),
    "purchase_rate",
)
CLIENT_LOGS = ("seen_days", "sends_30d", "opens_90d", "clicks_90d")
TRUNK = (*PURCHASE_LOGS, *CLIENT_LOGS, *RHYTHM, "never_bought")
SPEND_LOGS = ("last_spent", "spent_per_day")
SPEND = (
    *("spent", "purchase_days", "lines_bought", "quantity", "spent_90d", "purchase_days_90d"),
    *("days_since_purchase", "tenure_days", "purchase_rate", "rhythm_log_odds", "rhythm_rate"),
    *(*SPEND_LOGS, "never_bought"),
)
# Trees can't carry on past what training saw, so they are kept from plain ages, and from sums of
# purchases over 90 days and more, which grow until the shop is as old as the window; rates stay.
OUTGROWN = (
    *("spent", "quantity", "buying_days"),
    *(f"{what}_{w}d" for what in ("purchase_days", "quantity", "spent") for w in (90, 180)),
)
TREES = tuple(name for name in (*COUNTS, *MEASURES, *DERIVED, *RHYTHM) if name not in OUTGROWN)

Numbers = NDArray[np.float64]


class InputsMissing(ValueError):
    """The dataset lacks columns."""


def derive(dataset: pd.DataFrame) -> pd.DataFrame:
    """Return COLUMNS and DERIVED as numbers: absent counts are 0, most absent measures NaN.

    Raises:
        InputsMissing: if a column is missing.
        ValueError: if one is not numeric.
    """
    if missing := [name for name in COLUMNS if name not in dataset]:
        raise InputsMissing(
            f"the dataset lacks {missing}; sql/purchase_propensity/dataset.sql delivers them"
        )
    rows = {name: dataset[name].to_numpy(dtype=float, na_value=np.nan) for name in COLUMNS}
    for name in (*COUNTS, *ABSENT_IS_NONE):
        rows[name] = np.nan_to_num(rows[name], nan=0.0)
    tenure, recency, days = rows["tenure_days"], rows["days_since_purchase"], rows["purchase_days"]
    with np.errstate(divide="ignore", invalid="ignore"):
        derived = {
            "never_bought": (days == 0).astype(float),
            "buying_days": tenure - recency,
            "purchase_rate": (days - 1) / tenure * 90,
            "recency_to_tenure": recency / tenure,
            "recency_to_gap": recency / rows["gap_mean"],
            "recency_to_gap_max": recency / rows["gap_max"],
            "spent_per_day": rows["spent"] / days,
            "quantity_per_day": rows["quantity"] / days,
            "recent_rate_90d": rows["purchase_days_90d"] / np.minimum(tenure, 90),
            "recent_rate_180d": rows["purchase_days_180d"] / np.minimum(tenure, 180),
        }
    for name in DERIVED:
        rows[name] = np.where(np.isfinite(derived[name]), derived[name], np.nan)
    return pd.DataFrame(rows, index=dataset.index)


def terms_of(rhythm: BgNbd | None, dataset: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of TRUNK and SPEND; NaN where a client has no such thing."""
    return trunk_terms(derive(dataset), rhythm)


def trunk_terms(values: pd.DataFrame, rhythm: BgNbd | None) -> pd.DataFrame:
    """Return the columns of TRUNK and SPEND, made of what ``derive`` returns."""
    bought = values["never_bought"].to_numpy() == 0
    terms = {
        name: np.where(bought, np.log1p(np.maximum(values[name].to_numpy(), 0)), np.nan)
        for name in PURCHASE_LOGS
    }
    terms |= {name: np.log1p(np.maximum(values[name].to_numpy(), 0)) for name in CLIENT_LOGS}
    terms |= {name: np.log1p(np.maximum(values[name].to_numpy(), 0)) for name in SPEND_LOGS}
    terms |= rhythm_terms(rhythm, values)
    terms["never_bought"] = values["never_bought"].to_numpy()
    return pd.DataFrame(terms, index=values.index)


def rhythm_terms(rhythm: BgNbd | None, values: pd.DataFrame) -> dict[str, Numbers]:
    """Return the columns of RHYTHM; NaN for a client who never bought."""
    columns = {name: np.full(len(values), np.nan) for name in RHYTHM}
    bought = ((values["never_bought"] == 0) & (values["tenure_days"] > 0)).to_numpy()
    if rhythm is None or not bought.any():
        return columns
    x, tx, age = purchases(values[bought])
    chance = bgnbd.chance_to_buy(rhythm, x, tx, age, HORIZON_DAYS)
    columns["rhythm_log_odds"][bought] = logistic_map.log_odds(chance)
    alive = bgnbd.chance_alive(rhythm, x, tx, age)
    columns["rhythm_alive"][bought] = logistic_map.log_odds(np.clip(alive, 1e-6, 1 - 1e-6))
    columns["rhythm_rate"][bought] = np.log((rhythm.r + x) / (rhythm.alpha + age))
    return columns


def purchases(rows: pd.DataFrame) -> tuple[Numbers, Numbers, Numbers]:
    """Return repeat purchases, age at the last and age now, of clients who bought."""
    age = rows["tenure_days"].to_numpy(dtype=float)
    tx = age - rows["days_since_purchase"].to_numpy(dtype=float)
    return rows["purchase_days"].to_numpy(dtype=float) - 1, tx, age
