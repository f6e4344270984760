-- feed_recommendation users, as they were
-- Grain:         one row per user known at as_of; ordered by user_id
-- Inputs:        raw.user_data
-- Output:        user_id, age, city, country, exp_group (the owner's opaque category), gender, os,
--                source, segment
-- Point in time: the version that held on as_of
-- Parameters:    as_of date, shard integer, shards integer
select
    user_id,
    age,
    city,
    country,
    exp_group,
    gender,
    os,
    source,
    result.feed_segment(age, gender) as segment
from raw.user_data
where
    known_from <= cast(:as_of as date)
    and known_to > cast(:as_of as date)
    and (
        cast(:shards as integer) = 1
        or mod(abs(cast(hashint8(user_id) as bigint)), cast(:shards as integer)) = cast(:shard as integer)
    )
order by user_id
