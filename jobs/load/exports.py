"""The owners' own exports: one CSV file per table, with the table's columns in any order."""

from pathlib import Path

from jobs.extract.tables import TABLES
from jobs.load.blocks import Blocks, NotLoadable, body, header

LABELS = "apparel_target_binary"


def tables(folder: Path) -> dict[str, tuple[list[str], Blocks]]:
    """Return columns and rows of each table that has a file; empty where there is none."""
    files = {table: path for table in TABLES if (path := _file(folder, table))}
    return {table: (header(path), body(path)) for table, path in files.items()}


def labels(folder: Path) -> Blocks | None:
    """Return the rows (client_id, target) of the owner's labels, where there are any.

    Raises:
        NotLoadable: if the file has other columns.
    """
    path = _file(folder, LABELS)
    if path is None:
        return None
    if header(path) != ["client_id", "target"]:
        raise NotLoadable(f"{path}: columns are {header(path)}, expected client_id, target")
    return body(path)


def _file(folder: Path, table: str) -> Path | None:
    """Return the table's file: its name with - or _ between the words."""
    wanted = table.replace("_", "-")
    found = [path for path in folder.glob("*.csv") if path.stem.replace("_", "-") == wanted]
    return found[0] if found else None
