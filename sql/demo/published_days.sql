-- Demo: the days of a table that readers see
-- Grain:         one row per as_of, in order
-- Inputs:        ops.publication
-- Output:        as_of
-- Point in time: none, it describes what is there
-- Parameters:    table_name text
select distinct as_of
from ops.publication
where table_name = :table_name
order by as_of
