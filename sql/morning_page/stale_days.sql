-- morning_page stale_days
-- Grain:         one row per result table with published days whose inputs changed since
-- Inputs:        ops.publication, ops.result_table, ops.load
-- Output:        table_name, job, days (newest first), first_day and last_day
-- Point in time: as things stand now
-- Parameters:    none
with published as (
    select distinct on (publication.table_name, publication.as_of)
        publication.table_name,
        publication.as_of,
        publication.published_at
    from ops.publication
    order by
        publication.table_name asc,
        publication.as_of asc,
        publication.publication_id desc
)

select
    published.table_name,
    result_table.job,
    array_agg(published.as_of order by published.as_of desc) as days,
    min(published.as_of) as first_day,
    max(published.as_of) as last_day
from published
inner join ops.result_table on published.table_name = result_table.table_name
where
    exists (
        select from ops.load
        where
            load.table_name = any(result_table.inputs)
            and load.mode in ('late', 'reload')
            and load.as_of > published.as_of
            and load.event_day < published.as_of
            and load.loaded_at > published.published_at
            and load.rows_loaded + load.closed > 0
    )
group by
    published.table_name,
    result_table.job
order by published.table_name
