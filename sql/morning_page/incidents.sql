-- morning_page incidents
-- Grain:         one row per open incident, the first of each DAG and day first
-- Inputs:        ops.incident
-- Output:        its columns
-- Point in time: as things stand now
-- Parameters:    none
select
    incident.dag_id,
    incident.task_id,
    incident.as_of,
    incident.airflow_run_id,
    incident.error,
    incident.log_url,
    incident.still_serves,
    incident.depends,
    incident.rerun_command,
    incident.opened_at
from ops.incident
where incident.resolved_at is null
order by
    incident.as_of desc nulls first,
    incident.opened_at asc,
    incident.incident_id asc
limit 50
