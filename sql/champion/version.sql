-- champion version
-- Grain:         at most one row
-- Inputs:        ops.model_version
-- Output:        the columns of ops.model_version
-- Point in time: a version never changes once written
-- Parameters:    model_version text
select
    model_version.model_version,
    model_version.job,
    model_version.as_of,
    model_version.kind,
    model_version.name,
    model_version.mlflow_run_id,
    model_version.model_uri,
    model_version.artifact_sha256,
    model_version.train_from,
    model_version.train_to,
    model_version.gate_cutoff,
    model_version.rows,
    model_version.params,
    model_version.metrics,
    model_version.airflow_run_id,
    model_version.created_at
from ops.model_version
where model_version.model_version = cast(:model_version as text)
