-- pages days: the index, and the head of every table's page
-- Grain:         one row per checked table and day, newest day first; a day is the day of the
--                events, so the run as_of D loads the day D - 1
-- Inputs:        ops.load, ops.validation
-- Output:        table_name, day, mode (of the first load; null: not loaded), rows (standing in
--                raw), duplicates, quarantined, late (rows added or closed after the first load),
--                loaded_at (newest), checked_as_of, checks, failures (critical), warnings,
--                is_loaded_table (false: a dataset, which no extraction loads)
-- Point in time: everything recorded so far, for as many of the newest days as asked
-- Parameters:    days integer
with names as (
    select
        table_name,
        bool_or(loaded) as is_loaded_table
    from (
        select
            table_name,
            true as loaded
        from ops.load
        union
        select
            table_name,
            false as loaded
        from ops.validation
    ) as mentioned
    group by table_name
),

newest as (
    select
        greatest(
            (select max(event_day) from ops.load),
            (select max(as_of) from ops.validation) - 1
        ) as day
),

days as (
    select newest.day - back.n as day
    from newest
    cross join generate_series(0, cast(:days as integer) - 1) as back (n)
    where newest.day is not null
),

loaded as (
    select
        load.table_name,
        load.event_day as day,
        (array_agg(load.mode order by load.load_id))[1] as mode,
        (array_agg(
            load.rows_read - load.duplicates - load.quarantined order by load.load_id desc
        ))[1] as rows,
        (array_agg(load.duplicates order by load.load_id desc))[1] as duplicates,
        (array_agg(load.quarantined order by load.load_id desc))[1] as quarantined,
        coalesce(
            sum(load.rows_loaded + load.closed) filter (where load.mode in ('late', 'reload')), 0
        ) as late,
        max(load.loaded_at) as loaded_at
    from ops.load
    where load.event_day >= (select min(days.day) from days)
    group by load.table_name, load.event_day
),

outcome as (
    select distinct on (table_name, as_of, suite, expectation, column_name)
        table_name,
        as_of,
        severity,
        success
    from ops.validation
    where as_of > (select min(days.day) from days)
    order by
        table_name asc, as_of asc, suite asc, expectation asc, column_name asc, validation_id desc
),

checked as (
    select
        table_name,
        as_of,
        count(*) as checks,
        count(*) filter (where not success and severity = 'critical') as failures,
        count(*) filter (where not success and severity = 'warning') as warnings
    from outcome
    group by table_name, as_of
)

select
    names.table_name,
    names.is_loaded_table,
    days.day,
    loaded.mode,
    loaded.rows,
    loaded.duplicates,
    loaded.quarantined,
    loaded.late,
    loaded.loaded_at,
    checked.as_of as checked_as_of,
    checked.checks,
    checked.failures,
    checked.warnings
from names
cross join days
left join loaded on names.table_name = loaded.table_name and days.day = loaded.day
-- History is loaded and checked as one range: the run after its last day checked all its days.
left join lateral (
    select checked.*
    from checked
    where
        checked.table_name = names.table_name
        and (
            checked.as_of = days.day + 1
            or (loaded.mode = 'range' and checked.as_of > days.day)
        )
    order by checked.as_of
    limit 1
) as checked on true
order by days.day desc, names.table_name asc
