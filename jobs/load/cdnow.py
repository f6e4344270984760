"""CDNOW (Fader and Hardie): every purchase of one shop's clients, in one text file.

Its lines are client, yyyymmdd, pieces and dollars, separated by spaces. It has neither messages
nor categories; a piece's price is dollars / pieces.
"""

from collections.abc import Iterator
from pathlib import Path

from jobs.load.blocks import Blocks

FILE = "CDNOW_master.txt"
COLUMNS = ["client_id", "quantity", "price", "category_ids", "date"]
LINES_PER_BLOCK = 10_000


def tables(folder: Path) -> dict[str, tuple[list[str], Blocks]]:
    """Return apparel_purchases made from the file; empty where the folder lacks it."""
    path = folder / FILE
    return {"apparel_purchases": (COLUMNS, _rows(path))} if path.is_file() else {}


def _rows(path: Path) -> Iterator[bytes]:
    """Yield the file as CSV, some thousand lines at a time.

    Raises:
        ValueError: naming the line that is not four fields.
    """
    block: list[str] = []
    with path.open(encoding="ascii") as lines:
        for number, line in enumerate(lines, start=1):
            fields = line.split()
            if fields[:1] == ["customer_id"] or not fields:
                continue
            if len(fields) != 4:
                raise ValueError(f"{path} line {number}: {len(fields)} fields, expected 4")
            client, day, pieces, dollars = fields
            price = float(dollars) / int(pieces)
            written = f"{day[:4]}-{day[4:6]}-{day[6:]}"
            block.append(f"{int(client)},{pieces},{price:.6f},[],{written}\n")
            if len(block) == LINES_PER_BLOCK:
                yield "".join(block).encode()
                block = []
    yield "".join(block).encode()
