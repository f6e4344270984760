"""CDNOW (Fader and Hardie): every purchase of one shop's clients, in one text file.

Its lines are client, yyyymmdd, pieces and dollars, separated by spaces. It has neither messages
nor categories; a piece's price is dollars / pieces.
"""

from collections.abc import Iterator
from pathlib import Path

from jobs.load.blocks import Blocks, NotLoadable

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
        NotLoadable: naming the line that is not four fields, or not numbers.
    """
    block: list[str] = []
    with path.open(encoding="ascii", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            fields = line.split()
            if fields[:1] == ["customer_id"] or not fields:
                continue
            if len(fields) != 4:
                raise NotLoadable(_refused(path, number, f"{len(fields)} fields, expected 4"))
            client, day, pieces, dollars = fields
            written = f"{day[:4]}-{day[4:6]}-{day[6:]}"
            try:
                price = float(dollars) / int(pieces)
                block.append(f"{int(client)},{pieces},{price:.6f},[],{written}\n")
            except (ValueError, ZeroDivisionError) as error:
                said = f"{' '.join(fields)}; expected numbers, pieces not 0"
                raise NotLoadable(_refused(path, number, said)) from error
            if len(block) == LINES_PER_BLOCK:
                yield "".join(block).encode()
                block = []
    yield "".join(block).encode()


def _refused(path: Path, number: int, why: str) -> str:
    return (
        f"{path} line {number}: {why} (client, yyyymmdd, pieces, dollars); nothing was loaded. "
        "Mend the file, then load it again"
    )
