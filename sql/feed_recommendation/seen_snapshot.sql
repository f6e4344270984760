-- feed_recommendation seen snapshot: the newest one that holds
-- Grain:         one row, or none
-- Inputs:        feature.seen_snapshot, ops.load
-- Output:        snapshot_id, before_day
-- Point in time: of days before before_day, which is last_day at most, as known by as_of: no load
--                since it was built, nor any known between known_by and as_of, changed them
-- Parameters:    as_of date, last_day date
select
    snapshot.snapshot_id,
    snapshot.before_day
from feature.seen_snapshot as snapshot
where
    snapshot.known_by <= cast(:as_of as date)
    and snapshot.before_day <= cast(:last_day as date)
    and snapshot.loads = (
        select count(*)
        from ops.load
        where
            load.table_name = 'feed_data'
            and load.event_day < snapshot.before_day
            and load.as_of <= cast(:as_of as date)
    )
order by
    snapshot.before_day desc,
    snapshot.snapshot_id desc
limit 1
