-- feed_recommendation insert user seen: an older snapshot, if there is one, and the days since
-- Grain:         one row per user_id
-- Inputs:        feature.user_seen, feature.user_post_day
-- Output:        feature.user_seen of snapshot_id
-- Point in time: of days from first_day to before before_day, as known by as_of
-- Parameters:    snapshot_id bigint, older_id bigint or null, first_day date, before_day date,
--                as_of date
with since as (
    select
        user_id,
        feature.joined(post_ids order by event_day) as post_ids,
        feature.joined(actions order by event_day) as actions
    from feature.user_post_day
    where
        event_day >= cast(:first_day as date)
        and event_day < cast(:before_day as date)
        and known_from <= cast(:as_of as date)
        and known_to > cast(:as_of as date)
    group by user_id
),

older as (
    select
        user_id,
        post_ids,
        actions
    from feature.user_seen
    where snapshot_id = cast(:older_id as bigint)
)

insert into feature.user_seen (snapshot_id, user_id, post_ids, actions)
select
    cast(:snapshot_id as bigint),
    coalesce(older.user_id, since.user_id),
    older.post_ids || since.post_ids,
    older.actions || since.actions
from older
full join since on older.user_id = since.user_id
