-- feed_recommendation insert seen snapshot: the head of a new one
-- Grain:         one row
-- Inputs:        ops.load
-- Output:        feature.seen_snapshot; snapshot_id
-- Point in time: of days before before_day, as known by as_of
-- Parameters:    as_of date, before_day date
insert into feature.seen_snapshot (before_day, known_by, loads)
select
    cast(:before_day as date),
    cast(:as_of as date),
    count(*)
from ops.load
where
    table_name = 'feed_data'
    and event_day < cast(:before_day as date)
    and as_of <= cast(:as_of as date)
returning snapshot_id
