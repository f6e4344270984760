-- retention writers_waiting
-- Grain:         one row
-- Inputs:        Postgres's locks
-- Output:        waiting: whether anyone waits for a lock on one of the tables
-- Point in time: as things stand now
-- Parameters:    tables text[] (with schema)
select
    exists(
        select from pg_locks
        where
            not granted
            and relation = any(cast(:tables as regclass[]))
    ) as waiting
