-- incidents open_logs
-- Grain:         one row per open incident of one DAG and day
-- Inputs:        ops.incident
-- Output:        task_id, log_url (it names the attempt)
-- Point in time: as things stand now
-- Parameters:    dag_id text, as_of date
select
    incident.task_id,
    incident.log_url
from ops.incident
where
    incident.dag_id = :dag_id
    and incident.as_of is not distinct from cast(:as_of as date)
    and incident.resolved_at is null
