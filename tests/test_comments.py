"""Comments: whoever opens a table in a BI tool or in psql reads what it holds."""

from sqlalchemy import text

from jobs import evaluation

# A partition's comments are its parent's; ops.migration is Alembic's own.
UNCOMMENTED = """
select format('%s.%s', relation.oid::regclass, attname)
from pg_class as relation
left join pg_attribute on attrelid = relation.oid and attnum > 0 and not attisdropped
where relnamespace = any(
    array['raw', 'quarantine', 'feature', 'result', 'experiment', 'ops', 'bi']::regnamespace[]
)
and relkind in ('r', 'p', 'v', 'm') and not relispartition and relname <> 'migration'
and (
    col_description(relation.oid, attnum) is null
    or obj_description(relation.oid, 'pg_class') is null
)
order by 1
"""


def test_every_table_and_column_that_people_read_has_a_comment(warehouse):
    with warehouse.connect() as connection:
        missing = list(connection.execute(text(UNCOMMENTED)).scalars())

    assert missing == [], "say what it holds: comment on column ... is '...', in its migration"


def test_the_comments_name_every_metric(warehouse):
    asked = text(
        "select col_description(cast(:view as regclass), attnum) from pg_attribute"
        " where attrelid = cast(:view as regclass) and attname = 'metric'"
    )
    with warehouse.connect() as connection:
        for view in ("ops.evaluation", "bi.model_quality"):
            comment = connection.execute(asked, {"view": view}).scalar_one()
            for metric in (
                *evaluation.METRICS,
                *evaluation.YES_NO_METRICS,
                "predicted_rate",
                "observed_rate",
            ):
                assert metric in comment, f"{view}: {metric}"
