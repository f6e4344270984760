"""Run every measurement, or those that are named: python -m bench [extraction publishing ...]."""

import sys

from bench import (
    behavior,
    extraction,
    feed_api,
    feed_night,
    history,
    post_pictures,
    post_scoring,
    publishing,
    scoring,
)
from bench.ground import ground

MEASUREMENTS = {
    "extraction": extraction.measure,
    "feed": extraction.measure_feed,
    "publishing": publishing.measure,
    "scoring": scoring.measure,
    "history": history.measure,
    "feed_api": feed_api.measure,
    "feed_night": feed_night.measure,
    "behavior": behavior.measure,
    "post_pictures": post_pictures.measure,
    "post_scoring": post_scoring.measure,
}


def main(names: list[str]) -> None:
    """Print one table per measurement.

    Raises:
        SystemExit: naming the measurements there are, if another is asked for.
    """
    if unknown := set(names) - set(MEASUREMENTS):
        raise SystemExit(f"no measurement {sorted(unknown)}; there are: {', '.join(MEASUREMENTS)}")
    for name in names or MEASUREMENTS:
        with ground() as databases:
            print(f"\n{name}\n{MEASUREMENTS[name](databases)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
