-- Demo summary: how the checks came out
-- Grain:         one row per table checked
-- Inputs:        ops.validation
-- Output:        table, runs, passed, warnings, failures
-- Point in time: none, it describes what is there
-- Parameters:    none
select
    table_name as source_table,
    count(distinct as_of) as runs,
    count(*) filter (where success) as passed,
    count(*) filter (where not success and severity <> 'critical') as warnings,
    count(*) filter (where not success and severity = 'critical') as failures
from ops.validation
group by table_name
order by table_name
