-- feed_recommendation exclusions: posts that users must not be shown
-- Grain:         one row per user_id, post_id and version; ordered by user_id and post_id
-- Inputs:        raw.feed_exclusion
-- Output:        user_id, post_id, known_from, known_to
-- Point in time: versions that held at some time from first_cutoff to as_of, and the reader asks
--                each for its known_from and known_to
-- Parameters:    as_of date, first_cutoff date, shard integer, shards integer
select
    user_id,
    post_id,
    known_from,
    least(known_to, date '9999-12-31') as known_to
from raw.feed_exclusion
where
    known_from <= cast(:as_of as date)
    and known_to > cast(:first_cutoff as date)
    and (
        cast(:shards as integer) = 1
        or mod(abs(hashint8(user_id)::bigint), cast(:shards as integer)) = cast(:shard as integer)
    )
order by
    user_id,
    post_id
