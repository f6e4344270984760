"""Event logs of shops, in the two common forms, as rows of client_event.

- Without a header, ``user,item,category,behavior,unix time`` (Taobao's UserBehavior.csv): pv, fav,
  cart and buy are view, favorite, cart and purchase.
- With one that has ``event_time``, ``event_type``, ``product_id`` and ``user_id`` among its columns
  (REES46 and its likes): event types as they are.

Other types are loaded as they are, and set aside by the extraction where nobody knows them. The
shop's table has times without a zone, which are read in SOURCE_TZ: unix times, and times that say
their zone, are written in that one.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from jobs.load.blocks import Blocks, NotLoadable, header
from jobs.settings import source_tz

COLUMNS = ["client_id", "event_time", "event_type", "product_id"]
NAMELESS = ["user", "item", "category", "behavior", "at"]
NAMED = ["event_time", "event_type", "product_id", "user_id"]
BEHAVIORS = {"pv": "view", "fav": "favorite", "cart": "cart", "buy": "purchase"}
BLOCK_BYTES = 1 << 22
YEAR_2100 = 4_102_444_800
WITH_ZONE = r":\d\d(\.\d+)?( ?UTC|Z|[+-]\d\d:?\d\d)$"


def tables(folder: Path) -> dict[str, tuple[list[str], Blocks]]:
    """Return client_event made from the event logs of a folder; empty where it has none.

    Several files of one form are one log.
    """
    found = [(path, read) for path in sorted(folder.glob("*.csv")) if (read := _form(path))]
    if not found:
        return {}
    return {"client_event": (COLUMNS, (block for path, read in found for block in read(path)))}


def _form(path: Path) -> Callable[[Path], Blocks] | None:
    """Return what reads the file, if it is an event log."""
    first = header(path)
    if set(NAMED) <= set(first):
        return _named
    nameless = len(first) == len(NAMELESS) and first[3].isalpha()
    return _nameless if nameless and first[0].isdigit() and first[4].isdigit() else None


def _nameless(path: Path) -> Blocks:
    types = dict.fromkeys(NAMELESS, pa.int64()) | {"behavior": pa.string()}
    for rows in _batches(path, csv.ReadOptions(column_names=NAMELESS, **_SMALL), types):
        kind = rows["behavior"].to_pylist()
        ends = pc.min_max(rows["at"]).as_py()
        for seconds in (ends["min"], ends["max"]):
            if seconds is not None and not 0 <= seconds < YEAR_2100:
                raise NotLoadable(
                    f"{path}: unix time {seconds} is no second from 1970 to 2100; nothing was "
                    "loaded. Mend the file (are these milliseconds?), then load it again"
                )
        yield _written(
            rows["user"],
            _as_kept(pc.cast(rows["at"], pa.timestamp("s", "UTC"))),
            pa.array([BEHAVIORS.get(name, name) for name in kind], pa.string()),
            rows["item"],
        )


def _named(path: Path) -> Blocks:
    types = {"user_id": pa.int64(), "product_id": pa.int64()}
    types |= dict.fromkeys(["event_time", "event_type"], pa.string())
    for rows in _batches(path, csv.ReadOptions(**_SMALL), types):
        written = rows["event_time"]
        zoned = pc.match_substring_regex(written, WITH_ZONE)
        told = pc.replace_substring_regex(pc.if_else(zoned, written, None), r" ?UTC$", "Z")
        try:
            moment = pc.cast(told, pa.timestamp("us", "UTC"))
        except pa.ArrowInvalid as error:
            raise NotLoadable(
                f"{path}: {error}; expected an event_time; nothing was loaded. Mend the file, then "
                "load it again"
            ) from error
        at = pc.if_else(pc.fill_null(zoned, False), _as_kept(moment), written)
        yield _written(rows["user_id"], at, rows["event_type"], rows["product_id"])


def _as_kept(moment: pa.Array) -> pa.Array:
    """Return moments as text without a zone, in SOURCE_TZ."""
    local = moment.to_pandas().dt.tz_convert(source_tz()).dt.tz_localize(None)
    return pc.cast(pa.Array.from_pandas(local), pa.string())


# One thread: so that an error names its line.
_SMALL = {"block_size": BLOCK_BYTES, "use_threads": False}


def _batches(
    path: Path, how: csv.ReadOptions, types: dict[str, pa.DataType]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the columns in ``types``.

    Raises:
        NotLoadable: naming the row that does not fit.
    """
    told = csv.ConvertOptions(
        column_types=types, include_columns=list(types), strings_can_be_null=True
    )
    try:
        yield from csv.open_csv(path, read_options=how, convert_options=told)
    except pa.ArrowInvalid as error:
        raise NotLoadable(
            f"{path}: {' '.join(str(error).split())}; expected {', '.join(types)}; nothing was "
            "loaded. Mend the file, then load it again"
        ) from error


def _written(*columns: pa.Array) -> bytes:
    """Return the rows as CSV."""
    text = io.BytesIO()
    table = pa.table(list(columns), names=COLUMNS)
    csv.write_csv(table, text, csv.WriteOptions(include_header=False))
    return text.getvalue()
