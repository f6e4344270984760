-- champion baselines_beside: the baselines that were trained beside a version
-- Grain:         one row per baseline
-- Inputs:        ops.model_version
-- Output:        model_version, name; by name
-- Point in time: those of the version's own training
-- Parameters:    model_version text
select
    beside.model_version,
    beside.name
from ops.model_version as beside
inner join ops.model_version as asked
    on beside.mlflow_run_id = asked.mlflow_run_id
where
    asked.model_version = cast(:model_version as text)
    and beside.kind = 'baseline'
order by beside.name
