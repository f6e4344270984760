"""CSV files as blocks of bytes, so that a file of any size is loaded in constant memory."""

import csv
from collections.abc import Iterator
from pathlib import Path

Blocks = Iterator[bytes]
BLOCK_BYTES = 1 << 20


def header(path: Path) -> list[str]:
    """Return the column names in a CSV file's first line."""
    with path.open(newline="", encoding="utf-8-sig") as lines:
        return next(csv.reader(lines), [])


def body(path: Path) -> Blocks:
    """Yield all that follows the first line, as it stands in the file."""
    with path.open("rb") as lines:
        lines.readline()
        while block := lines.read(BLOCK_BYTES):
            yield block
