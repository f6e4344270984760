-- morning_page quality
-- Grain:         one row per model (job, or job and arm), name and metric
-- Inputs:        ops.result_table, ops.publication, ops.evaluation
-- Output:        job, name, is_live (made the newest published day), metric, value, low, high, rows,
--                as_of (the run that measured)
-- Point in time: the newest gate of each model: challenger, champion and baselines on the same rows
-- Parameters:    none
with live as (
    select distinct on (result_table.job)
        result_table.job,
        -- A table of two arms names the version of each.
        string_to_array(publication.model_version, ', ') as versions
    from ops.result_table
    inner join ops.publication on result_table.table_name = publication.table_name
    order by
        result_table.job asc,
        publication.as_of desc,
        publication.publication_id desc
),

newest as (
    select
        evaluation.job,
        live.versions,
        max(evaluation.as_of) as as_of
    from live
    inner join ops.evaluation on live.job = split_part(evaluation.job, '.', 1)
    where evaluation.stage = 'gate'
    group by
        evaluation.job,
        live.versions
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
    evaluation.model_version = any(newest.versions) as is_live
from newest
inner join ops.evaluation
    on
        newest.job = evaluation.job
        and newest.as_of = evaluation.as_of
where evaluation.stage = 'gate'
order by
    evaluation.job asc,
    evaluation.name asc,
    evaluation.metric asc,
    evaluation.evaluated_at desc
