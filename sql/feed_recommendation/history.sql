-- feed_recommendation history: who saw and liked what
-- Grain:         one row per user_id, event_day and version; ordered by user_id and event_day
-- Inputs:        feature.user_post_day, feature.user_seen
-- Output:        user_id, event_day, known_from, known_to, post_ids, hours, actions; what a snapshot
--                holds is one row per user, dated the last of its days, with hours of 0
-- Point in time: days before as_of; versions that held at some time from first_cutoff to as_of,
--                and the reader asks each for its known_from and known_to
-- Parameters:    as_of date, first_cutoff date, first_day date (with a snapshot its before_day),
--                snapshot_id bigint or null, shard integer, shards integer
select
    user_id,
    event_day,
    known_from,
    least(known_to, date '9999-12-31') as known_to,
    post_ids,
    hours,
    actions
from feature.user_post_day
where
    event_day >= cast(:first_day as date)
    and event_day < cast(:as_of as date)
    and known_from <= cast(:as_of as date)
    and known_to > cast(:first_cutoff as date)
    and (
        cast(:shards as integer) = 1
        or mod(abs(cast(hashint8(user_id) as bigint)), cast(:shards as integer)) = cast(:shard as integer)
    )
union all
select
    seen.user_id,
    snapshot.before_day - 1 as event_day,
    snapshot.before_day as known_from,
    date '9999-12-31' as known_to,
    seen.post_ids,
    array_fill(cast(0 as smallint), array[cardinality(seen.post_ids)]) as hours,
    seen.actions
from feature.user_seen as seen
inner join feature.seen_snapshot as snapshot on seen.snapshot_id = snapshot.snapshot_id
where
    seen.snapshot_id = cast(:snapshot_id as bigint)
    and (
        cast(:shards as integer) = 1
        or mod(abs(cast(hashint8(seen.user_id) as bigint)), cast(:shards as integer))
        = cast(:shard as integer)
    )
order by
    user_id,
    event_day
