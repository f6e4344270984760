-- incidents insert
-- Grain:         one row
-- Inputs:        the values given
-- Output:        one open row in ops.incident
-- Point in time: opened_at is the moment of the insert
-- Parameters:    dag_id text, task_id text, as_of date, airflow_run_id text, error text,
--                log_url text, still_serves text, depends text, rerun_command text
insert into ops.incident (
    dag_id, task_id, as_of, airflow_run_id, error, log_url, still_serves, depends, rerun_command
)
values (
    :dag_id,
    :task_id,
    cast(:as_of as date),
    :airflow_run_id,
    :error,
    :log_url,
    :still_serves,
    :depends,
    :rerun_command
)
