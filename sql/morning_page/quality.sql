-- morning_page quality
-- Grain:         one row per result table, model or baseline and metric
-- Inputs:        ops.publication, ops.evaluation, ops.model_version
-- Output:        job, name, is_live (that one made the newest published day), metric, value, low,
--                high, rows, as_of (the run that measured)
-- Point in time: the newest measurement at the gate of the version that made the newest day
-- Parameters:    none
with newest as (
    select distinct on (result_table.job)
        result_table.job,
        publication.model_version
    from ops.result_table
    inner join ops.publication on result_table.table_name = publication.table_name
    order by
        result_table.job asc,
        publication.as_of desc,
        publication.publication_id desc
)

select distinct on (evaluation.job, evaluation.name, evaluation.metric)
    evaluation.job,
    evaluation.name,
    evaluation.metric,
    evaluation.value,
    evaluation.low,
    evaluation.high,
    evaluation.rows,
    evaluation.as_of,
    coalesce(
        evaluation.model_version = newest.model_version
        and (evaluation.name = 'model' or evaluation.name = live.name),
        false
    ) as is_live
from newest
left join ops.model_version as live on newest.model_version = live.model_version
inner join ops.evaluation
    on
        newest.job = evaluation.job
        and (
            newest.model_version = evaluation.model_version
            -- Model and baselines of one training are versions of their own, in one MLflow run.
            or evaluation.model_version in (
                select beside.model_version from ops.model_version as beside
                where beside.mlflow_run_id = live.mlflow_run_id
            )
        )
where evaluation.stage = 'gate'
order by
    evaluation.job asc,
    evaluation.name asc,
    evaluation.metric asc,
    evaluation.as_of desc
