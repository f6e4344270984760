-- feed_recommendation delete seen snapshots: all but the last ones built
-- Grain:         one row per snapshot
-- Inputs:        feature.seen_snapshot
-- Output:        feature.seen_snapshot and feature.user_seen without them
-- Point in time: whatever is not there is built again
-- Parameters:    kept integer
delete from feature.seen_snapshot
where snapshot_id not in (
    select snapshot_id
    from feature.seen_snapshot
    order by snapshot_id desc
    limit cast(:kept as integer)
)
