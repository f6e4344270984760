-- pages validations of one table
-- Grain:         one row per run and expectation, newest run first, what failed first; where a
--                run was repeated, its last outcome
-- Inputs:        ops.validation
-- Output:        as_of, suite, expectation, column_name, severity, success, rows, unexpected,
--                sample, observed, validated_at
-- Point in time: everything recorded so far, for the newest days (as_of) of the table
-- Parameters:    table_name text, days integer
with outcome as (
    select distinct on (as_of, suite, expectation, column_name)
        as_of,
        suite,
        expectation,
        column_name,
        severity,
        success,
        rows,
        unexpected,
        sample,
        observed,
        validated_at,
        validation_id
    from ops.validation
    where
        table_name = cast(:table_name as text)
        and as_of > (
            select max(newest.as_of) - cast(:days as integer)
            from ops.validation as newest
            where newest.table_name = cast(:table_name as text)
        )
    order by as_of asc, suite asc, expectation asc, column_name asc, validation_id desc
)

select
    as_of,
    suite,
    expectation,
    column_name,
    severity,
    success,
    rows,
    unexpected,
    sample,
    observed,
    validated_at
from outcome
order by as_of desc, success asc, severity asc, validation_id asc
