-- morning_page loads
-- Grain:         one row per table that was ever loaded
-- Inputs:        ops.load, ops.validation
-- Output:        table_name, event_day (the newest), rows_read, rows_loaded, duplicates,
--                quarantined, loaded_at of that day; late_rows that the same run added to or
--                closed on earlier days; failed_checks of that run
-- Point in time: as things stand now
-- Parameters:    none
with newest as (
    select distinct on (load.table_name)
        load.table_name,
        load.event_day,
        load.as_of,
        load.rows_read,
        load.rows_loaded,
        load.duplicates,
        load.quarantined,
        load.loaded_at
    from ops.load
    order by
        load.table_name asc,
        load.event_day desc,
        load.load_id desc
)

select
    newest.table_name,
    newest.event_day,
    newest.rows_read,
    newest.rows_loaded,
    newest.duplicates,
    newest.quarantined,
    newest.loaded_at,
    (
        select coalesce(sum(load.rows_loaded + load.closed), 0)
        from ops.load
        where
            load.table_name = newest.table_name
            and load.as_of = newest.as_of
            and load.mode = 'late'
    ) as late_rows,
    (
        select count(*)
        from ops.validation
        where
            validation.table_name = newest.table_name
            and validation.as_of = newest.as_of
            and not validation.success
    ) as failed_checks
from newest
order by newest.table_name
