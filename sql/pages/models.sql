-- pages models: the newest version that each job has trained
-- Grain:         one row per job, or per model of a job that has several (job.model); by job
-- Inputs:        ops.model_version, ops.promotion
-- Output:        job, model_version, as_of (day trained for), mlflow_run_id, live_version (which
--                may be another one, or a baseline; null: no decision yet)
-- Point in time: everything trained and decided so far
-- Parameters:    none
select distinct on (model_version.job)
    model_version.job,
    model_version.model_version,
    model_version.as_of,
    model_version.mlflow_run_id,
    live.model_version as live_version
from ops.model_version
left join lateral (
    select promotion.to_version as model_version
    from ops.promotion
    where
        promotion.job = model_version.job
        and promotion.decision in ('promote', 'rollback')
    order by
        promotion.effective_as_of desc,
        promotion.decided_at desc,
        promotion.promotion_id desc
    limit 1
) as live on true
where model_version.kind = 'model'
order by
    model_version.job asc,
    model_version.as_of desc,
    model_version.created_at desc,
    model_version.model_version desc
