-- Demo summary: what was published
-- Grain:         one row per result table and model version of its newest day
-- Inputs:        ops.publication, bi.status
-- Output:        table, days, first_day, newest_day, rows of that day, model_version
-- Point in time: none, it describes what is there
-- Parameters:    none
select
    status.table_name as result_table,
    count(distinct publication.as_of) as days,
    min(publication.as_of) as first_day,
    status.newest_as_of as newest_day,
    status.rows,
    -- The job of an arm's version is the table's.
    regexp_replace(version.name, '^[a-z_]+[.]', '') as model_version
from bi.status
left join ops.publication on status.table_name = publication.table_name
cross join lateral string_to_table(status.model_version, ', ') as version (name)
group by
    status.table_name,
    status.newest_as_of,
    status.rows,
    version.name
order by
    status.table_name asc,
    version.name asc
