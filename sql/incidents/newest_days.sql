-- incidents newest_days
-- Grain:         one row per given table
-- Inputs:        ops.load
-- Output:        table_name, newest_day (null when nothing was ever loaded)
-- Point in time: as things stand now
-- Parameters:    tables text[] (under raw, without the schema)
select
    wanted.table_name,
    newest.event_day as newest_day
from unnest(cast(:tables as text[])) as wanted (table_name)
left join lateral (
    select max(load.event_day) as event_day
    from ops.load
    where load.table_name = wanted.table_name
) as newest on true
order by wanted.table_name
