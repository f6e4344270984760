"""A flat file of clients: the imbalance bench on features and labels that somebody else made.

One CSV with COLUMNS in any order, one row per client, without days. An empty cell is a missing
value; a missing word is ``no_information``. Nothing is trained for serving: the bench is all.
"""

import csv
import hashlib
import math
from array import array
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from jobs.client_engagement import tables
from jobs.client_engagement.features import FLAT, FLAT_MEASURES, Columns
from jobs.client_engagement.labels import LABEL
from jobs.load.blocks import NotLoadable

if TYPE_CHECKING:
    from jobs.client_scores.threshold import Aim

CLIENT = "client_id"
NUMBERS = (*FLAT.amounts, *FLAT.measures)
COLUMNS = (CLIENT, *FLAT.amounts, *FLAT.categories, *FLAT.measures, LABEL)
LARGEST_CLIENT = 2**63 - 1
LARGEST_NUMBER = float(np.finfo(np.float32).max)
# Words are codes of their own: free text would fill the memory.
MOST_WORDS = 500
FIRST_LINE_LETTERS = 10_000
MENDED = "nothing was loaded. Mend the file, then load it again"

Report = Callable[[str], None]


class NothingToCompare(ValueError):
    """A slice of the clients has one label only, or no feature varies."""


def file(folder: Path) -> Path | None:
    """Return the folder's flat file, None where it has none.

    A CSV file is meant to be one if its first line names a feature, however it is written.

    Raises:
        NotLoadable: if other CSV files stand beside it.
    """
    files = sorted(folder.glob("*.csv"))
    flat = [path for path in files if _names_a_feature(path)]
    if flat and len(files) > 1:
        raise NotLoadable(
            f"{folder}: {flat[0].name} is a flat file of clients; found "
            f"{[path.name for path in files]}, expected no other CSV file beside it; nothing was "
            "loaded. Load each from a folder of its own"
        )
    return flat[0] if flat else None


def load(warehouse: Engine, path: Path, as_of: date, report: Report) -> str:
    """Run the bench on a flat file, keep its tables, and return the version that they stand under.

    The same file has the same version, and its rows replace those of the time before.

    Args:
        warehouse: the warehouse.
        path: the file.
        as_of: day that the labels stand on.
        report: is told what is being done, and the table.

    Raises:
        NotLoadable: naming the file, what was found and what was expected.
    """
    rows = read(path)
    from jobs.client_engagement.job import aim  # takes seconds, which a wrong file is spared

    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    version = f"flat-{path.stem}-{digest[:8]}"
    report(f"{path.name}: {len(rows):,} clients, {int(rows[LABEL].sum()):,} with {LABEL} 1")
    try:
        bench, vif = compare(rows, FLAT, aim(), report)
    except NothingToCompare as error:
        raise NotLoadable(f"{path}: {error}; {MENDED}") from error
    report(readable(bench).to_string(index=False))
    with warehouse.begin() as connection:
        tables.write(connection, version, as_of, bench, vif)
    return version


def compare(
    rows: pd.DataFrame, columns: Columns, aim: "Aim", report: Report
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of `bench.compare` and of the collinear numbers that it was spared.

    Clients are split as those of the nightly job: 70 % to fit on, 15 % to calibrate, choose and
    set thresholds on, 15 % to measure on.

    Args:
        rows: client_id, target (0 or 1) and ``columns``, one row per client.
        columns: what the models read.
        aim: what thresholds are for.
        report: is told what is being done.

    Raises:
        NothingToCompare: if one of the three has a single label, or no feature varies.
    """
    from jobs.client_engagement import bench, training
    from jobs.client_engagement.candidates import HANDLINGS, MODELS, PARAMS
    from jobs.client_scores.slices import split

    slices = split({date.min: rows}, LABEL)  # no days: all stand on the same one
    parts = {"fit": slices.train, "choose": slices.validation, "measure": slices.calibration}
    for purpose, part in parts.items():
        if not 0 < part[LABEL].sum() < len(part):
            raise NothingToCompare(
                f"{len(rows):,} clients, {int(rows[LABEL].sum()):,} with {LABEL} 1: of the "
                f"{len(part):,} clients to {purpose} on, {int(part[LABEL].sum()):,}; expected "
                "both labels among them, so more clients"
            )
    features = [*columns.numbers, *columns.categories]
    if slices.train[features].nunique(dropna=False).max() < 2:
        raise NothingToCompare(
            f"every feature has a single value in the {len(slices.train):,} clients to fit on; "
            "expected one that varies"
        )
    kept, vif = training.fewer(slices.train, columns, ())
    gone = vif[vif["dropped"].notna()].sort_values("dropped")
    for name, factor in zip(gone["feature"], gone["vif"], strict=True):
        why = "it never varies" if math.isnan(factor) else f"variance inflation factor {factor:.1f}"
        report(f"left out: {name} ({why})")
    train, held, test = (training.rows_of(part, kept, ()) for part in parts.values())
    report(
        f"{len(MODELS) * len(HANDLINGS)} candidates on {len(train.labels):,} clients, threshold "
        f"for {aim} on {len(held.labels):,}, measured on {len(test.labels):,}"
    )
    table, _ = bench.compare(train, held, test, kept, PARAMS, aim, report)
    return table, vif


def readable(bench: pd.DataFrame) -> pd.DataFrame:
    """Return the bench's table as words for people; the chosen candidate is marked with *."""

    def figures(name: str, digits: int = 3) -> list[str]:
        return ["" if pd.isna(value) else f"{value:.{digits}f}" for value in bench[name]]

    ends = zip(*(figures(f"pr_auc{end}") for end in ("", "_low", "_high")), strict=True)
    return pd.DataFrame(
        {
            "": ["*" if chosen else "" for chosen in bench["chosen"]],
            "model": bench["model"],
            "handling": bench["handling"],
            "ROC AUC": figures("roc_auc"),
            "PR AUC (95 %)": [f"{at} ({low} to {high})" if at else "" for at, low, high in ends],
            "Brier raw": figures("brier_raw", 4),
            "Brier": figures("brier", 4),
            "ECE raw": figures("ece_raw"),
            "ECE": figures("ece"),
            "precision": figures("precision"),
            "recall": figures("recall"),
            "F1": figures("f1"),
            "accuracy": figures("accuracy"),
            "of always no": figures("accuracy_of_no"),
        }
    )


def read(path: Path) -> pd.DataFrame:
    """Return the file's rows: COLUMNS, numbers NaN and words None where the cell is empty.

    Raises:
        NotLoadable: naming the first line that does not fit, what it has and what was expected.
    """
    given = _lines(path)
    _, names = next(given, (1, []))
    if sorted(names) != sorted(COLUMNS):
        raise NotLoadable(
            f"{path}: found columns {names}, expected {list(COLUMNS)} (any order, separated by "
            f"commas): missing {[name for name in COLUMNS if name not in names]}, unknown "
            f"{[name for name in names if name not in COLUMNS]}, twice "
            f"{sorted({name for name in names if names.count(name) > 1})}; {MENDED}"
        )
    lines: dict[int, int] = {}
    numbers = {name: array("d") for name in NUMBERS}
    words: dict[str, list[str | None]] = {name: [] for name in FLAT.categories}
    labels = array("b")
    for line, fields in given:
        if len(fields) != len(names):
            _refuse(path, line, f"{len(fields)} fields", str(len(names)))
        row = {name: field.strip() for name, field in zip(names, fields, strict=True)}
        client = _client(path, line, row[CLIENT])
        if lines.setdefault(client, line) != line:
            said = f"{CLIENT} {client} again, as in line {lines[client]}"
            _refuse(path, line, said, "one row per client")
        for name, column in numbers.items():
            column.append(_number(path, line, name, row[name]))
        for name, found in words.items():
            found.append(row[name] or None)
        label = _number(path, line, LABEL, row[LABEL])
        if label not in (0, 1):
            _refuse(path, line, f"{LABEL} is {row[LABEL]!r}", "0 or 1")
        labels.append(int(label))
    if not lines:
        raise NotLoadable(f"{path}: no row below the columns' names, expected clients; {MENDED}")
    if len(set(labels)) == 1:
        raise NotLoadable(
            f"{path}: {LABEL} is {labels[0]} in all {len(labels):,} rows, expected 0 and 1; there "
            f"is nothing to learn from; {MENDED}"
        )
    made: dict[str, object] = {CLIENT: pd.array(list(lines), dtype="int64"), LABEL: labels}
    made |= numbers
    for name, found in words.items():
        if (different := len(set(found))) > MOST_WORDS:
            raise NotLoadable(
                f"{path}: {name} has {different:,} different words, at most {MOST_WORDS} are "
                f"compared; is it another column? {MENDED}"
            )
        made[name] = pd.Series(found, dtype=object)
    return pd.DataFrame(made)[list(COLUMNS)]


def _names_a_feature(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        first = lines.readline(FIRST_LINE_LETTERS).lower()
    return any(name in first for name in (*NUMBERS, *FLAT.categories))


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and fields of each line that is not blank."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.reader(lines)
            for fields in rows:
                if fields:
                    yield rows.line_num, fields
    except (UnicodeDecodeError, csv.Error) as error:
        raise NotLoadable(f"{path}: {error}; expected CSV in UTF-8; {MENDED}") from error


def _client(path: Path, line: int, written: str) -> int:
    try:
        client = int(_plain(written))
    except ValueError:
        client = LARGEST_CLIENT + 1
    if abs(client) > LARGEST_CLIENT:
        found = f"{CLIENT} is {written!r}" if written else f"no {CLIENT}"
        _refuse(path, line, found, "a whole number")
    return client


def _number(path: Path, line: int, name: str, written: str) -> float:
    """Return the number, NaN of an empty cell."""
    try:
        value = float(_plain(written)) if written else math.nan
    except ValueError:
        value = math.inf
    # Models know single precision.
    if abs(value) > LARGEST_NUMBER or (written and math.isnan(value)):
        _refuse(path, line, f"{name} is {written!r}", "a number or an empty cell")
    if name in FLAT_MEASURES and not (math.isnan(value) or value in (0, 1)):
        _refuse(path, line, f"{name} is {written!r}", "0, 1 or an empty cell")
    return value


def _plain(written: str) -> str:
    """Return the text of a number, without what Python alone takes for one.

    Raises:
        ValueError: if it has that: 1_000, or digits of other scripts.
    """
    if "_" in written or not written.isascii():
        raise ValueError(written)
    return written


def _refuse(path: Path, line: int, found: str, expected: str) -> NoReturn:
    raise NotLoadable(f"{path} line {line}: {found}, expected {expected}; {MENDED}")
