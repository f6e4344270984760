-- Demo summary: what the extractions brought, dropped and set aside
-- Grain:         one row per source table
-- Inputs:        ops.load
-- Output:        table, days, rows, late rows, closed rows, duplicates, quarantined
-- Point in time: none, it describes what is there
-- Parameters:    none
with newest as (
    select distinct on (table_name, event_day)
        table_name,
        duplicates,
        quarantined
    from ops.load
    order by
        table_name asc,
        event_day asc,
        load_id desc
),

standing as (
    select
        table_name,
        sum(duplicates) as duplicates,
        sum(quarantined) as quarantined
    from newest
    group by table_name
)

select
    load.table_name as source_table,
    count(distinct load.event_day) as days,
    sum(load.rows_loaded) as rows,
    coalesce(sum(load.rows_loaded) filter (where load.mode in ('late', 'reload')), 0) as late,
    sum(load.closed) as taken_back,
    standing.duplicates as exact_duplicates,
    standing.quarantined
from ops.load
inner join standing on load.table_name = standing.table_name
group by
    load.table_name,
    standing.duplicates,
    standing.quarantined
order by load.table_name
