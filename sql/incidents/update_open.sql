-- incidents update_open
-- Grain:         the open incident of one task and day, if there is one
-- Inputs:        the values given
-- Output:        its row in ops.incident, with the newest failure; opened_at stays
-- Point in time: taken under the incident's lock
-- Parameters:    dag_id text, task_id text, as_of date, airflow_run_id text, error text,
--                log_url text, still_serves text, depends text, rerun_command text
update ops.incident
set
    airflow_run_id = :airflow_run_id,
    error = :error,
    log_url = :log_url,
    still_serves = :still_serves,
    depends = :depends,
    rerun_command = :rerun_command
where
    dag_id = :dag_id
    and task_id = :task_id
    and as_of is not distinct from cast(:as_of as date)
    and resolved_at is null
