"""What is going on, how far it is, how long it takes: one line a step."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

PLAIN_EVERY_SECONDS = 5.0
Report = Callable[[str], None]


@contextlib.contextmanager
def step(title: str) -> Iterator[Report]:
    """Show ``title`` while its block runs, then how long it took.

    Yields:
        A function to call with how far it is ("120/360 days"). On a terminal the line is
        rewritten; elsewhere a new line is printed, at most one in five seconds.
    """
    out = sys.stderr
    terminal = out.isatty()
    started = shown = time.monotonic()
    latest = ""

    def report(text: str) -> None:
        nonlocal shown, latest
        now = time.monotonic()
        if terminal:
            out.write(f"\r\033[K{clock(now - started)}  {title}: {text}")
        elif text != latest and now - shown >= PLAIN_EVERY_SECONDS:
            out.write(f"{clock(now - started)}  {title}: {text}\n")
            shown = now
        latest = text
        out.flush()

    def finish(mark: str) -> None:
        lead = "\r\033[K" if terminal else ""
        rest = f": {latest}" if latest else ""
        out.write(f"{lead}{clock(time.monotonic() - started)}  {title}{rest}{mark}\n")
        out.flush()

    if terminal:
        report("...")
        latest = ""
    else:
        out.write(f"{clock(0)}  {title} ...\n")
        out.flush()
    try:
        yield report
    except KeyboardInterrupt:
        finish("  (interrupted)")
        raise
    except BaseException:
        finish("  (failed)")
        raise
    finish("")


def quiet(_text: str) -> None:
    """Show nothing."""


def clock(seconds: float) -> str:
    """Return seconds as minutes, seconds and tenths, so that columns line up."""
    return f"{int(seconds // 60):2d}:{seconds % 60:04.1f}"
