-- champion versions
-- Grain:         one row per version of a job, or of one of its models; newest day first, models
--                before baselines
-- Inputs:        ops.model_version, ops.promotion, ops.result_table, ops.publication
-- Output:        job, model_version, kind, name, as_of, created_at, mlflow_run_id; live_since
--                (effective day of the last decision for it); served_days, served_from, served_to
--                (published days whose rows it made)
-- Point in time: everything recorded so far
-- Parameters:    job text
with served as (
    select
        version.model_version,
        count(distinct newest.as_of) as served_days,
        min(newest.as_of) as served_from,
        max(newest.as_of) as served_to
    from (
        select distinct on (publication.table_name, publication.as_of)
            publication.as_of,
            string_to_array(publication.model_version, ', ') as model_versions
        from ops.publication
        inner join ops.result_table on publication.table_name = result_table.table_name
        where result_table.job = split_part(cast(:job as text), '.', 1)
        order by
            publication.table_name asc,
            publication.as_of asc,
            publication.publication_id desc
    ) as newest
    cross join lateral unnest(newest.model_versions) as version (model_version)
    group by version.model_version
),

decided as (
    select
        promotion.to_version as model_version,
        max(promotion.effective_as_of) as live_since
    from ops.promotion
    where
        cast(:job as text) in (promotion.job, split_part(promotion.job, '.', 1))
        and promotion.decision in ('promote', 'rollback')
    group by promotion.to_version
)

select
    model_version.job,
    model_version.model_version,
    model_version.kind,
    model_version.name,
    model_version.as_of,
    model_version.created_at,
    decided.live_since,
    served.served_from,
    served.served_to,
    model_version.mlflow_run_id,
    coalesce(served.served_days, 0) as served_days
from ops.model_version
left join served on model_version.model_version = served.model_version
left join decided on model_version.model_version = decided.model_version
where cast(:job as text) in (model_version.job, split_part(model_version.job, '.', 1))
order by
    model_version.job asc,
    model_version.as_of desc,
    model_version.kind desc,
    model_version.created_at desc,
    model_version.model_version asc
