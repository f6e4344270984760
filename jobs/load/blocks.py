"""CSV files as blocks of bytes, so that a file of any size is loaded in constant memory."""

import csv
from collections.abc import Iterator
from pathlib import Path

Blocks = Iterator[bytes]
BLOCK_BYTES = 1 << 20


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
