-- publish partitions
-- Grain:         one row per partition of a table that is partitioned by one day column
-- Inputs:        Postgres's catalog
-- Output:        name (without schema), first_day, end_day (the first day that is not in it)
-- Point in time: as things stand now
-- Parameters:    table_name text (with schema)
select
    partition.relname as name,
    cast(bound.ends[1] as date) as first_day,
    cast(bound.ends[2] as date) as end_day
from pg_inherits
inner join pg_class as partition on pg_inherits.inhrelid = partition.oid
cross join
    lateral regexp_match(
        pg_get_expr(partition.relpartbound, partition.oid), 'FROM \(''(.+)''\) TO \(''(.+)''\)'
    ) as bound (ends)
where pg_inherits.inhparent = cast(:table_name as regclass)
order by first_day
