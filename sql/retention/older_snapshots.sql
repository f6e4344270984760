-- retention older_snapshots
-- Grain:         one row per transaction whose snapshot may be older than a commit
-- Inputs:        Postgres's sessions and locks
-- Output:        virtualtransaction
-- Point in time: as things stand now. A transaction in the snapshot's past may hold its xmin back,
--                so one of these may be newer after all; none that is older is left out
-- Parameters:    committed text (transaction id)
select locks.virtualtransaction
from pg_stat_activity as sessions
inner join pg_locks as locks
    on
        sessions.pid = locks.pid
        and locks.locktype = 'virtualxid'
        and locks.virtualtransaction = locks.virtualxid
where
    sessions.datname = current_database()
    and sessions.pid <> pg_backend_pid()
    and age(sessions.backend_xmin) >= age(cast(:committed as xid))
