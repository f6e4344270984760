-- morning_page status
-- Grain:         one row per result table
-- Inputs:        bi.status, ops.result_table
-- Output:        what bi.status says of it but for stale days, which stale_days.sql finds (not
--                asked for, the view does not look for them); the table's inputs; is_behind only
--                where inputs are loaded at all: a new platform is not late
-- Point in time: as things stand now
-- Parameters:    none
select
    status.table_name,
    status.job,
    status.newest_as_of,
    status.rows,
    status.model_version,
    status.published_at,
    status.inputs_as_of,
    status.is_behind and status.inputs_as_of is not null as is_behind,
    result_table.inputs
from bi.status as status
inner join ops.result_table on status.table_name = result_table.table_name
order by status.table_name
