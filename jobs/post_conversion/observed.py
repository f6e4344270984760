"""What became of a published day's rates."""

import pandas as pd

from jobs.post_conversion import rates


def figures(frame: pd.DataFrame) -> pd.DataFrame:
    """Return metric, value, low and high of a published day, each metric named by its action.

    Args:
        frame: action, topic, rate, views, count; a row a post and action.
    """
    found: list[tuple[str, float, None, None]] = []
    for action, rows in frame.groupby("action"):
        told = {
            "predicted_rate": float((rows["rate"] * rows["views"]).sum() / rows["views"].sum()),
            "observed_rate": float(rows["count"].sum() / rows["views"].sum()),
            **rates.figures(
                rows["count"].clip(upper=rows["views"]), rows["views"], rows["rate"], rows["topic"]
            ),
        }
        found += [
            (f"{action}_{name}", value, None, None)
            for name, value in told.items()
            if not pd.isna(value)
        ]
    return pd.DataFrame(found, columns=["metric", "value", "low", "high"])
