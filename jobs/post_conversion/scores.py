"""A day's rows: each post and action with its rates, what the picture adds, and why."""

import numpy as np
import pyarrow as pa

from jobs import calibration as logistic_map
from jobs.post_conversion import model, rates, reasons
from jobs.post_conversion.model import Fitted
from jobs.post_conversion.rows import ACTIONS, Rows

# Of the staging table, in SQL.
SHAPE = (
    "post_id bigint, action text, predicted_rate real, predicted_low real, predicted_high real,"
    " views bigint, observed_rate real, expected_rate real, picture_added real,"
    " reason_features text[], reason_contributions real[], reason_rest real"
)


def of_posts(fitted: Fitted, rows: Rows) -> pa.Table:
    """Return a row for each post and action that the model knows, columns as SHAPE.

    The posts' counts are those so far; the reasons and reason_rest sum to the log-odds of
    predicted_rate as it is rounded to real.
    """
    predicted = model.predicted(fitted, rows)
    added = model.picture_added(fitted, rows, predicted)
    views = rows.posts["views_all"].to_numpy(float)
    parts = []
    for place, action in enumerate(fitted.actions):
        rate = predicted[:, place].astype(np.float32)
        known = fitted.strengths[action]
        low, high = rates.interval(predicted[:, place], known)
        count = np.minimum(rows.posts[f"{ACTIONS[action]}_all"].to_numpy(float), views)
        chosen = fitted.serves[action]
        told = reasons.of_rows(fitted.models[chosen], place, rows, fitted.maps[action])
        # What is published must add up, so the rest is taken after rounding to real.
        rest = logistic_map.log_odds(rate.astype(float)) - told.sums if told else None
        parts.append(
            pa.table(
                {
                    "post_id": pa.array(rows.posts["post_id"].to_numpy(np.int64)),
                    "action": pa.array([action] * len(rate), pa.string()),
                    "predicted_rate": pa.array(rate),
                    "predicted_low": pa.array(low.astype(np.float32)),
                    "predicted_high": pa.array(high.astype(np.float32)),
                    "views": pa.array(views.astype(np.int64)),
                    "observed_rate": pa.array(
                        np.where(views > 0, count / np.maximum(views, 1), np.nan).astype(
                            np.float32
                        ),
                        from_pandas=True,
                    ),
                    "expected_rate": pa.array(
                        rates.expected(predicted[:, place], known, count, views).astype(np.float32)
                    ),
                    "picture_added": pa.array(added[:, place].astype(np.float32), from_pandas=True),
                    "reason_features": told.features if told else _none(pa.string(), len(rate)),
                    "reason_contributions": told.contributions
                    if told
                    else _none(pa.float32(), len(rate)),
                    "reason_rest": pa.array(rest, pa.float32())
                    if rest is not None
                    else pa.nulls(len(rate), pa.float32()),
                }
            )
        )
    return pa.concat_tables(parts)


def _none(kind: pa.DataType, posts: int) -> pa.Array:
    """Return an empty list for each post."""
    return pa.array([[]] * posts, pa.list_(kind))
