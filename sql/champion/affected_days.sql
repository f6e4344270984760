-- champion affected_days
-- Grain:         one row per published day whose rows another version made than the live one
-- Inputs:        ops.publication, ops.result_table, ops.promotion
-- Output:        as_of, live_version, published_version
-- Point in time: the version live on a day is the last decision by
--                (effective_as_of, decided_at) effective by that day. A job with several models has
--                decisions for each, job.model, and days that more than one version made
-- Parameters:    job text, from_day date
with published as (
    select distinct on (publication.table_name, publication.as_of)
        publication.as_of,
        publication.model_version
    from ops.publication
    inner join ops.result_table on publication.table_name = result_table.table_name
    where
        result_table.job = split_part(cast(:job as text), '.', 1)
        and publication.as_of >= cast(:from_day as date)
    order by
        publication.table_name asc,
        publication.as_of asc,
        publication.publication_id desc
)

select
    published.as_of,
    live.model_version as live_version,
    min(published.model_version) as published_version
from published
inner join lateral (
    select promotion.to_version as model_version
    from ops.promotion
    where
        promotion.job = cast(:job as text)
        and promotion.effective_as_of <= published.as_of
        and promotion.decision in ('promote', 'rollback')
    order by
        promotion.effective_as_of desc,
        promotion.decided_at desc,
        promotion.promotion_id desc
    limit 1
) as live on true
where live.model_version <> all(string_to_array(published.model_version, ', '))
group by
    published.as_of,
    live.model_version
order by published.as_of
