-- retention loaded_days
-- Grain:         one row per table under raw that was ever loaded
-- Inputs:        ops.load
-- Output:        table_name, days (event days loaded, or recorded as absent)
-- Point in time: as things stand now
-- Parameters:    tables text[] (under raw, without the schema)
select
    table_name,
    array_agg(distinct event_day) as days
from ops.load
where table_name = any(cast(:tables as text[]))
group by table_name
