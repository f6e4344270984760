-- pages loads of one table
-- Grain:         one row per load, newest first
-- Inputs:        ops.load
-- Output:        event_day, as_of, mode, rows_read, rows_loaded, duplicates, quarantined, closed,
--                checksum, airflow_run_id, loaded_at
-- Point in time: everything recorded so far, for as many of the newest loads as asked
-- Parameters:    table_name text, loads integer
select
    event_day,
    as_of,
    mode,
    rows_read,
    rows_loaded,
    duplicates,
    quarantined,
    closed,
    checksum,
    airflow_run_id,
    loaded_at
from ops.load
where table_name = cast(:table_name as text)
order by load_id desc
limit cast(:loads as integer)
