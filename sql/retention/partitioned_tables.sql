-- retention partitioned_tables
-- Grain:         one row per partitioned table of a schema
-- Inputs:        Postgres's catalog
-- Output:        name (without schema)
-- Point in time: as things stand now
-- Parameters:    schema_name text
select pg_class.relname as name
from pg_partitioned_table
inner join pg_class on pg_partitioned_table.partrelid = pg_class.oid
where pg_class.relnamespace = cast(:schema_name as regnamespace)
order by name
