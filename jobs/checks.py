"""Run a Great Expectations suite on rows in Postgres, keep its results, quarantine offenders."""

import json
import logging
import math
import os
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from psycopg import sql
from sqlalchemy import Engine, text

from jobs.warehouse import driver

if TYPE_CHECKING:
    import great_expectations as gx
    from great_expectations.core import ExpectationValidationResult

log = logging.getLogger(__name__)

# A row of ops.validation; the names are its columns.
Outcome = dict[str, Any]
SAMPLE = 3


class CheckFailed(ValueError):
    """A critical expectation did not hold; the message names it, its count and three keys."""


def validate(
    warehouse: Engine,
    schema: str,
    name: str,
    suite: "gx.ExpectationSuite",
    table: str,
    as_of: date,
    key: tuple[str, ...],
) -> list[Outcome]:
    """Run ``suite`` by SQL on ``schema``.``name`` and store its results in ops.validation.

    Args:
        warehouse: where the rows are.
        schema: schema of the relation that is checked.
        name: the relation that is checked.
        suite: expectations; severity critical stops, warning is left to the caller.
        table: what ops.validation and messages call the rows.
        as_of: the run.
        key: columns that tell a row, for the sample.

    Returns:
        One outcome per expectation.

    Raises:
        CheckFailed: if any critical expectation does not hold; results are stored before.
    """
    outcomes = [_outcome(result, key) for result in _run(warehouse, schema, name, suite, key)]
    with warehouse.begin() as connection:
        connection.execute(
            text(
                "insert into ops.validation (table_name, as_of, suite, expectation, column_name,"
                " severity, success, rows, unexpected, sample, observed) values (:table_name,"
                " :as_of, :suite, :expectation, :column_name, :severity, :success, :rows,"
                " :unexpected, cast(:sample as jsonb), :observed)"
            ),
            [
                {
                    **outcome,
                    "table_name": table,
                    "as_of": as_of,
                    "suite": suite.name,
                    "sample": json.dumps(_finite(outcome["sample"]), default=str),
                }
                for outcome in outcomes
            ],
        )
    broken = [out for out in outcomes if out["severity"] == "critical" and not out["success"]]
    if broken:
        raise CheckFailed(
            f"{table} as of {as_of}: "
            + "; ".join(_in_words(outcome) for outcome in broken)
            + "; nothing was loaded. See ops.validation, mend the source, then rerun"
        )
    return outcomes


def quarantine(
    warehouse: Engine,
    name: str,
    table: str,
    as_of: date,
    rules: Mapping[str, str],
    columns: list[str],
    max_share: float,
    max_rows: int,
    key: str,
) -> int:
    """Move the rows of staging.``name`` that break a rule to quarantine.``table``.

    Args:
        warehouse: where the rows are.
        name: the staging table.
        table: what messages call the rows, and quarantine's table.
        as_of: the run.
        rules: SQL conditions by name, each true of a row (called ``staged``) that breaks it;
            {batch} stands for the staging table.
        columns: columns to keep.
        max_share: share of the rows that may be moved.
        max_rows: so many may be moved in any case.
        key: column of whom or what the rows are about, for the message.

    Returns:
        Rows moved, each with the names of all the rules it broke; a warning in the log says which.

    Raises:
        CheckFailed: if more than ``max_share`` of the rows, and more than ``max_rows``, break a
            rule; none is moved then.
    """
    staged, refused = sql.Identifier("staging", name), sql.Identifier("quarantine", table)
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    # A query for each rule: joined by "or", a rule that looks ids up would do so row by row.
    each_rule = sql.SQL(" union all ").join(
        sql.SQL("select ctid as place, {} as nth, {} as reason from {} as staged where {}").format(
            sql.Literal(nth), sql.Literal(rule), staged, sql.SQL(condition).format(batch=staged)
        )
        for nth, (rule, condition) in enumerate(rules.items())
    )
    with warehouse.begin() as connection:
        postgres = driver(connection)
        postgres.execute(
            sql.SQL(
                "create temporary table offender on commit drop as"
                " select place, array_agg(reason order by nth) as reasons"
                " from ({}) as broken group by place"
            ).format(each_rule)
        )
        counted = postgres.execute(
            sql.SQL(
                "select (select count(*) from offender),"
                " case when exists(select from offender) then (select count(*) from {}) end"
            ).format(staged)
        ).fetchone()
        assert counted is not None
        offenders, rows = counted
        if not offenders:
            return 0
        by_reason = postgres.execute(
            sql.SQL(
                "select reason, count(*), (array_agg({key} order by {key})"
                " filter (where {key} is not null))[:3]"
                " from (select {key}, unnest(reasons) as reason from {staged} as staged"
                " inner join offender on staged.ctid = offender.place) as broken"
                " group by reason order by 2 desc, 1"
            ).format(key=sql.Identifier(key), staged=staged)
        ).fetchall()
        who = f"{key.removesuffix('_id')}s"
        found = ", ".join(
            f"{count} with {rule}" + (f" ({who} {', '.join(map(str, keys))})" if keys else "")
            for rule, count, keys in by_reason
        )
        if offenders > max(max_share * rows, max_rows):
            raise CheckFailed(
                f"{table} as of {as_of}: {offenders} of {rows} rows break a rule "
                f"({offenders / rows:.1%}, at most {max_share:.0%} may be set aside): {found}; "
                "nothing was loaded. Mend the source, then rerun"
            )
        log.warning(
            "%s as of %s: %d of %d rows set aside: %s; they are in quarantine.%s, all others go on",
            table, as_of, offenders, rows, found, table,
        )  # fmt: skip
        postgres.execute(
            sql.SQL(
                "with gone as (delete from {staged} as staged using offender"
                " where staged.ctid = offender.place returning staged.*, offender.reasons)"
                " insert into {refused} ({names}, copies, event_day, as_of, reasons)"
                " select {names}, copies, event_day, {as_of}, reasons from gone"
            ).format(staged=staged, refused=refused, names=names, as_of=sql.Literal(as_of))
        )
    return int(offenders)


def _run(
    warehouse: Engine, schema: str, name: str, suite: "gx.ExpectationSuite", key: tuple[str, ...]
) -> "list[ExpectationValidationResult]":
    """Run the suite as SQL where the rows are; nothing but counts and samples comes back."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            progress_bars=ProgressBarsConfig(globally=False),
            analytics_enabled=False,
        ),
    )
    url = warehouse.url.set(drivername="postgresql+psycopg")
    source = context.data_sources.add_or_update_postgres(
        name="warehouse", connection_string=url.render_as_string(hide_password=False)
    )
    try:
        batch = (
            source.add_table_asset(name=f"{schema}.{name}", table_name=name, schema_name=schema)
            .add_batch_definition_whole_table("rows")
            .get_batch()
        )
        asked = {"result_format": "SUMMARY", "unexpected_index_column_names": list(key)}
        return list(batch.validate(suite, result_format=asked).results)
    finally:
        # Each keeps a pool; left to the garbage collector, a process of many checks fills the
        # server with idle connections.
        source.get_execution_engine().close()
        source.get_engine().dispose()


def _outcome(result: "ExpectationValidationResult", key: tuple[str, ...]) -> Outcome:
    config, found = result.expectation_config, result.result
    assert config is not None
    column = config.kwargs.get("column")
    rows = found.get("element_count")
    unexpected = found.get("unexpected_count")
    observed = found.get("observed_value")
    details = found.get("details") or {}
    sample = found.get("partial_unexpected_index_list") or []
    if rows_found := details.get("unexpected_rows"):
        unexpected = observed if isinstance(observed, int) else len(rows_found)
        sample = [{name: row.get(name) for name in key} for row in rows_found]
    elif "unexpected_rows_query" in config.kwargs and isinstance(observed, int):
        unexpected = observed
    if failure := _failure(result.exception_info):
        observed = f"could not be checked: {failure}"
    return {
        "expectation": config.description or _expected(config.type, config.kwargs),
        "column_name": column,
        "severity": str(getattr(config.severity, "value", config.severity)),
        "success": bool(result.success),
        "rows": rows,
        "unexpected": unexpected,
        "sample": sample[:SAMPLE],
        "observed": None if observed is None else str(observed)[:200],
    }


def _finite(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a sample as JSON can have it: NaN and infinity in words."""
    return [
        {
            name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        for row in rows
    ]


def _failure(info: Mapping[str, Any] | None) -> str | None:
    """Return why an expectation could not be evaluated: what it or one of its metrics raised."""
    for each in (info or {}, *(info or {}).values()):
        if isinstance(each, Mapping) and each.get("raised_exception"):
            return " ".join(str(each.get("exception_message")).split())
    return None


def _expected(kind: str, kwargs: Mapping[str, Any]) -> str:
    """Return an expectation that has no words of its own: its type, and what it asks for."""
    asked = [
        f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name in ("min_value", "max_value", "value_set", "regex", "mostly")
        if (value := kwargs.get(name)) is not None
    ]
    return kind.removeprefix("expect_") + (f" ({'; '.join(asked)})" if asked else "")


def _in_words(outcome: Outcome) -> str:
    column = f"{outcome['column_name']} " if outcome["column_name"] else ""
    words = f"{column}{outcome['expectation']} failed"
    if outcome["unexpected"] is not None:
        words += f" for {outcome['unexpected']} of {outcome['rows']} rows"
    if outcome["observed"] is not None:
        words += f", found {outcome['observed']}"
    if outcome["sample"]:
        words += ", for example " + ", ".join(
            "(" + ", ".join(_named(name, value) for name, value in each.items()) + ")"
            for each in outcome["sample"]
        )
    return words


def _named(name: str, value: object) -> str:
    return f"no {name}" if value is None else f"{name} {value}"
