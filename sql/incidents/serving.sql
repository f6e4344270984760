-- incidents serving
-- Grain:         one row per result table that the given tables make or feed
-- Inputs:        ops.result_table, ops.publication
-- Output:        table_name, job, made_here (the failed DAG publishes it), newest_as_of, rows,
--                model_version (of the newest published day), day_published (as_of itself is out)
-- Point in time: as things stand now; on-call asks what readers see at this moment
-- Parameters:    tables text[] (with schema), as_of date
select
    result_table.table_name,
    result_table.job,
    result_table.table_name = any(cast(:tables as text[])) as made_here,
    newest.as_of as newest_as_of,
    newest.rows,
    newest.model_version,
    exists(
        select from ops.publication
        where
            publication.table_name = result_table.table_name
            and publication.as_of = cast(:as_of as date)
    ) as day_published
from ops.result_table
left join lateral (
    select
        publication.as_of,
        publication.rows,
        publication.model_version
    from ops.publication
    where publication.table_name = result_table.table_name
    order by
        publication.as_of desc,
        publication.publication_id desc
    limit 1
) as newest on true
where
    result_table.table_name = any(cast(:tables as text[]))
    or exists (
        select from unnest(result_table.inputs) as input (name)
        where
            input.name = any(cast(:tables as text[]))
            or 'raw.' || input.name = any(cast(:tables as text[]))
    )
order by result_table.table_name
