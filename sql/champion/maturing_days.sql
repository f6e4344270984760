-- champion maturing_days
-- Grain:         one row per published day whose labels are complete and not yet compared
-- Inputs:        ops.publication, ops.result_table, ops.evaluation, result.score_deciles
-- Output:        as_of, model_version (that made the day's rows)
-- Point in time: the label window [day, day + horizon_days) has ended by as_of; a day
--                published anew by another version is compared anew, and one published anew by
--                the same version where that took back what was observed of its deciles
-- Parameters:    table_name text, as_of date, horizon_days integer
with published as (
    select distinct on (publication.as_of)
        publication.as_of,
        publication.model_version
    from ops.publication
    where
        publication.table_name = cast(:table_name as text)
        and publication.as_of <= cast(:as_of as date) - cast(:horizon_days as integer)
    order by
        publication.as_of asc,
        publication.publication_id desc
)

select
    published.as_of,
    published.model_version
from published
inner join ops.result_table on result_table.table_name = cast(:table_name as text)
where
    not exists (
        select from ops.evaluation
        where
            evaluation.job = result_table.job
            and evaluation.as_of = published.as_of
            and evaluation.model_version = published.model_version
            and evaluation.stage = 'matured'
    )
    or exists (
        select from result.score_deciles
        where
            score_deciles.job = result_table.job
            and score_deciles.as_of = published.as_of
            and score_deciles.observed is null
    )
order by published.as_of
