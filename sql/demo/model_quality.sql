-- Demo summary: the newest model of each score beside its baselines, on rows none was fitted on
-- Grain:         one row per job and model or baseline
-- Inputs:        bi.model_quality
-- Output:        job, name, one column per metric
-- Point in time: the gate's rows of each job's newest run
-- Parameters:    none
select
    job,
    name,
    round(cast(max(value) filter (where metric = 'roc_auc') as numeric), 4) as roc_auc,
    round(cast(max(value) filter (where metric = 'pr_auc') as numeric), 4) as pr_auc,
    round(cast(max(value) filter (where metric = 'brier') as numeric), 5) as brier,
    round(cast(max(value) filter (where metric = 'ece') as numeric), 5) as ece,
    round(cast(max(value) filter (where metric = 'lift') as numeric), 2) as lift_top_decile,
    round(cast(max(value) filter (where metric = 'precision') as numeric), 3) as precision,
    round(cast(max(value) filter (where metric = 'recall') as numeric), 3) as recall,
    max(rows) as rows
from bi.model_quality
where
    stage = 'gate'
    and metric in ('roc_auc', 'pr_auc', 'brier', 'ece', 'lift', 'precision', 'recall')
    and as_of = (
        select max(newest.as_of) from bi.model_quality as newest
        where newest.job = model_quality.job and newest.stage = 'gate'
    )
group by
    job,
    name
order by
    job asc,
    roc_auc desc
