"""CSV files as blocks of bytes, so that a file of any size is loaded in constant memory."""

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

Blocks = Iterator[bytes]
BLOCK_BYTES = 1 << 20
LINES_PER_BLOCK = 10_000


class NotLoadable(ValueError):
    """The folder's files are of no known form, or the product database holds other rows."""


def header(path: Path) -> list[str]:
    """Return the column names in a CSV file's first line.

    Raises:
        NotLoadable: if the file is empty or not UTF-8.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            names = next(csv.reader(lines), [])
    except UnicodeDecodeError as error:
        raise NotLoadable(f"{path}: {error}; expected CSV in UTF-8") from error
    if not names:
        raise NotLoadable(f"{path}: the file is empty; expected column names in its first line")
    return names


def body(path: Path) -> Blocks:
    """Yield all that follows the first line, as it stands in the file."""
    with path.open("rb") as lines:
        lines.readline()
        while block := lines.read(BLOCK_BYTES):
            yield block


def written(rows: Iterable[list[object]]) -> Blocks:
    """Yield rows as CSV, some thousand lines at a time; nothing between commas is null."""
    block, lines = io.StringIO(), 0
    writer = csv.writer(block, lineterminator="\n")
    for row in rows:
        writer.writerow(row)
        lines += 1
        if lines == LINES_PER_BLOCK:
            yield block.getvalue().encode()
            block.seek(0)
            block.truncate()
            lines = 0
    yield block.getvalue().encode()


def clock(seconds: int, zone: ZoneInfo) -> str:
    """Return seconds since 1970 as a source keeps times: without a zone, read in SOURCE_TZ."""
    return f"{datetime.fromtimestamp(seconds, zone):%Y-%m-%d %H:%M:%S}"
