"""Rows as Postgres' binary COPY format, made by numpy instead of row by row."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
EPOCH_DAYS = 10_957  # Postgres counts from 2000-01-01
DAY_US = 86_400_000_000
PIECE_BYTES = 1 << 20
WIDTHS = {"bigint": ">i8", "integer": ">i4", "double": ">f8", "date": ">i4", "timestamp": ">i8"}
WIDTHS |= {"smallint": ">i2", "real": ">f4"}
OIDS = {"bigint[]": 20, "smallint[]": 21, "real[]": 700}  # of the elements, in pg_type


class Field(NamedTuple):
    """One column: its values, their kind (of WIDTHS or OIDS, "text" or "hex") and which are null.

    The values of "text" are indices into ``texts``; those of "hex" are 64-bit numbers shown as 16
    digits; days and microseconds count from 1970. Those of arrays are rows by elements, of which
    each row has the first ``sizes``.
    """

    kind: str
    values: Array
    null: Array | None = None
    texts: tuple[str, ...] = ()
    sizes: Array | None = None


def encode(fields: list[Field]) -> Iterator[bytes | memoryview]:
    """Yield all rows as one binary COPY stream, in pieces.

    Rows whose texts, sizes and nulls are the same have the same layout, so they are written as one
    numpy record array: rows come out grouped by them, otherwise in order.
    """
    group = np.zeros(len(fields[0].values), dtype=np.int64)
    for field in fields:
        if field.kind == "text":
            group = group * len(field.texts) + field.values
        if field.sizes is not None:
            group = group * (field.values.shape[1] + 1) + field.sizes
        if field.null is not None:
            group = group * 2 + field.null
    order = np.argsort(group, kind="stable")
    cuts = np.flatnonzero(np.diff(group[order])) + 1
    yield HEADER
    for rows in np.split(order, cuts):
        if len(rows):
            data = _records(fields, rows).view(np.uint8).data
            yield from (data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))
    yield TRAILER


def _records(fields: list[Field], rows: Array) -> Array:
    """Return the chosen rows, all of one layout, as an array of records."""
    layout: list[tuple[str, Any]] = [("fields", ">i2")]
    values: dict[str, Array | bytes | int] = {"fields": len(fields)}
    kind: Any
    for place, field in enumerate(fields):
        length, value = f"length{place}", f"value{place}"
        layout.append((length, ">i4"))
        if field.null is not None and field.null[rows[0]]:
            values[length] = -1
            continue
        if field.kind == "text":
            text = field.texts[int(field.values[rows[0]])].encode()
            kind, values[value] = f"S{len(text)}", text
        elif field.kind == "hex":
            kind, values[value] = "S16", _hex(field.values[rows])
        elif field.sizes is not None:
            elements = field.values[rows, : int(field.sizes[rows[0]])]
            array = _arrays(elements, field.kind)
            kind, values[value] = array.dtype, array
        else:
            kind, values[value] = WIDTHS[field.kind], _since_2000(field, rows)
        values[length] = np.dtype(kind).itemsize
        layout.append((value, kind))
    records = np.empty(len(rows), dtype=layout)
    for name, column in values.items():
        records[name] = column
    return records


def _arrays(elements: Array, kind: str) -> Array:
    """Return rows by elements as Postgres writes arrays of one dimension, a record a row."""
    width = WIDTHS[kind.removesuffix("[]")]
    rows, size = elements.shape
    head: dict[str, int] = {"dimensions": min(size, 1), "nulls": 0, "oid": OIDS[kind]}
    if size:  # an empty array has no dimension
        head |= {"size": size, "first": 1}
    element = np.dtype([("length", ">i4"), ("value", width)])
    layout: list[tuple[Any, ...]] = [(name, ">i4") for name in head]
    arrays = np.empty(rows, np.dtype([*layout, ("elements", element, (size,))]))
    for name, number in head.items():
        arrays[name] = number
    arrays["elements"]["length"] = np.dtype(width).itemsize
    arrays["elements"]["value"] = elements
    return arrays


def _since_2000(field: Field, rows: Array) -> Array:
    """Return numbers as they are, days and microseconds counted from 2000-01-01."""
    shift = {"date": EPOCH_DAYS, "timestamp": EPOCH_DAYS * DAY_US}.get(field.kind, 0)
    return np.asarray(field.values[rows] - shift)


def _hex(numbers: Array) -> Array:
    """Return 64-bit numbers as 16 hexadecimal digits."""
    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    halves = np.empty((len(numbers), 16), dtype=np.uint8)
    whole = np.ascontiguousarray(numbers, dtype=">u8").view(np.uint8).reshape(-1, 8)
    halves[:, 0::2], halves[:, 1::2] = digits[whole >> 4], digits[whole & 15]
    return halves.view("S16")[:, 0]
