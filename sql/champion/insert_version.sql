-- champion insert_version
-- Grain:         one row
-- Inputs:        the values given
-- Output:        one row in ops.model_version; a name that is taken is an error
-- Point in time: the version knows nothing after its as_of
-- Parameters:    model_version, job, kind, name, mlflow_run_id, model_uri, artifact_sha256,
--                airflow_run_id text; as_of, train_from, train_to, gate_cutoff date;
--                rows, params, metrics jsonb as text
insert into ops.model_version (
    model_version, job, as_of, kind, name, mlflow_run_id, model_uri, artifact_sha256,
    train_from, train_to, gate_cutoff, rows, params, metrics, airflow_run_id
)
values (
    :model_version,
    :job,
    cast(:as_of as date),
    :kind,
    :name,
    :mlflow_run_id,
    :model_uri,
    :artifact_sha256,
    cast(:train_from as date),
    cast(:train_to as date),
    cast(:gate_cutoff as date),
    cast(:rows as jsonb),
    cast(:params as jsonb),
    cast(:metrics as jsonb),
    :airflow_run_id
)
