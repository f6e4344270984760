-- incidents resolve
-- Grain:         the open incidents of one DAG and day, of one task or of all
-- Inputs:        the values given
-- Output:        resolved_at in ops.incident
-- Point in time: resolved_at is the moment of the statement
-- Parameters:    dag_id text, as_of date, task_id text (null for all tasks)
update ops.incident
set resolved_at = clock_timestamp()
where
    dag_id = :dag_id
    and as_of is not distinct from cast(:as_of as date)
    and (cast(:task_id as text) is null or task_id = :task_id)
    and resolved_at is null
