"""Rows written as binary COPY read back as what they were, on a real Postgres."""

from datetime import date

import numpy as np
import pytest
from sqlalchemy import text

from jobs.binary_copy import Field
from jobs.publish import stage, stage_fields

DAY = date(2026, 3, 1)
SHAPE = (
    "who bigint, part smallint, share real, weight double precision, name text, posts bigint[],"
    " scores real[], sources smallint[]"
)


def rows(count: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "who": random.integers(-(2**62), 2**62, count),
        "part": random.integers(-(2**15), 2**15, count),
        "share": (random.integers(-800, 800, count) / 8).astype(np.float32),
        "weight": random.normal(size=count),
        "name": random.integers(0, 3, count),
        "size": random.integers(0, 5, count),
        "posts": random.integers(-(2**62), 2**62, (count, 4)),
        "scores": (random.integers(-800, 800, (count, 4)) / 8).astype(np.float32),
        "sources": random.integers(-(2**15), 2**15, (count, 4)).astype(np.int16),
    }


NAMES = ("контроль", "", "test")


def fields(made: dict[str, np.ndarray]) -> list[Field]:
    return [
        Field("bigint", made["who"]),
        Field("smallint", made["part"]),
        Field("real", made["share"]),
        Field("double", made["weight"], null=made["weight"] < 0),
        Field("text", made["name"], texts=NAMES),
        Field("bigint[]", made["posts"], sizes=made["size"]),
        Field("real[]", made["scores"], null=made["share"] < 0, sizes=made["size"]),
        Field("smallint[]", made["sources"], sizes=made["size"]),
    ]


def expected(made: dict[str, np.ndarray]) -> set[tuple]:
    return {
        (
            int(made["who"][at]),
            int(made["part"][at]),
            float(made["share"][at]),
            None if made["weight"][at] < 0 else float(made["weight"][at]),
            NAMES[made["name"][at]],
            tuple(made["posts"][at, :size].tolist()),
            None if made["share"][at] < 0 else tuple(made["scores"][at, :size].tolist()),
            tuple(made["sources"][at, :size].tolist()),
        )
        for at, size in enumerate(made["size"])
    }


def test_what_is_staged_as_fields_is_read_back_as_it_was(warehouse):
    blocks = [rows(300, 1), rows(1, 2), rows(77, 3)]

    name = stage_fields(warehouse, "result.any", DAY, "0of1", SHAPE, map(fields, blocks))

    with warehouse.connect() as connection:
        found = [
            tuple(tuple(value) if isinstance(value, list) else value for value in row)
            for row in connection.execute(text(f'select * from staging."{name}"'))
        ]
        remembered = connection.execute(
            text("select cast(obj_description(to_regclass(:name), 'pg_class') as jsonb) -> 'rows'"),
            {"name": f'staging."{name}"'},
        ).scalar()
    wanted = set().union(*map(expected, blocks))
    assert len(found) == len(wanted) == remembered == 378
    assert set(found) == wanted
    assert {len(row[5]) for row in found} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("staged", [stage, stage_fields])
def test_no_row_leaves_an_empty_table(warehouse, staged):
    name = staged(warehouse, "result.any", DAY, "0of1", SHAPE, [])

    with warehouse.connect() as connection:
        assert connection.execute(text(f'select count(*) from staging."{name}"')).scalar() == 0


def test_a_block_that_fails_leaves_nothing(warehouse):
    def blocks():
        yield fields(rows(10, 1))
        raise RuntimeError("the model broke")

    with pytest.raises(RuntimeError, match="the model broke"):
        stage_fields(warehouse, "result.any", DAY, "0of1", SHAPE, blocks())

    with warehouse.connect() as connection:
        assert (
            connection.execute(text("select to_regclass('staging.any_20260301_0of1')")).scalar()
            is None
        )
