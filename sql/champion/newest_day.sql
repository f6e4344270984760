-- champion newest_day
-- Grain:         one row
-- Inputs:        ops.publication, ops.result_table, ops.model_version
-- Output:        published (newest published day of the job), trained (newest day it has a
--                version for); null when there is none
-- Point in time: everything recorded so far
-- Parameters:    job text
select
    (
        select max(publication.as_of)
        from ops.publication
        inner join ops.result_table on publication.table_name = result_table.table_name
        where result_table.job = split_part(cast(:job as text), '.', 1)
    ) as published,
    (
        select max(model_version.as_of)
        from ops.model_version
        where model_version.job = cast(:job as text)
    ) as trained
