-- What users did with posts: the transaction's table feed_count, from which aggregates are made
-- Grain:         one row per user_id, post_id and event_day, of users' and posts' days that changed
-- Inputs:        raw.feed_data, feed_user_change, feed_post_change
-- Output:        feed_count(user_id, post_id, event_day, user_changed, post_changed, views, likes,
--                shares, comments, hides, first_at, first_view_at); where the user's day changed
--                all its rows are there, and where the post's did
-- Point in time: counts only rows known by known_at; known_at null means on time (event_day + 1),
--                as in a load of history: then every day is new
-- Parameters:    first_day date, last_day date, known_at date or null
create temporary table feed_count on commit drop as
select
    events.user_id,
    events.post_id,
    events.event_day,
    cast(:known_at as date) is null or users.user_id is not null as user_changed,
    cast(:known_at as date) is null or posts.post_id is not null as post_changed,
    -- As integers: sums of them stay bigint, sums of bigint are numeric and slow.
    cast(count(*) filter (where events.action = 'view') as integer) as views,
    cast(count(*) filter (where events.action = 'like') as integer) as likes,
    cast(count(*) filter (where events.action = 'share') as integer) as shares,
    cast(count(*) filter (where events.action = 'comment') as integer) as comments,
    cast(count(*) filter (where events.action = 'hide') as integer) as hides,
    min(events.timestamp) as first_at,
    min(events.timestamp) filter (where events.action = 'view') as first_view_at
from raw.feed_data as events
left join feed_user_change as users
    on
        events.user_id = users.user_id
        and events.event_day = users.event_day
left join feed_post_change as posts
    on
        events.post_id = posts.post_id
        and events.event_day = posts.event_day
where
    events.event_day between cast(:first_day as date) and cast(:last_day as date)
    and events.known_from <= coalesce(cast(:known_at as date), events.event_day + 1)
    and events.known_to > coalesce(cast(:known_at as date), events.event_day + 1)
    and (
        cast(:known_at as date) is null
        or users.user_id is not null
        or posts.post_id is not null
    )
group by
    events.user_id,
    events.post_id,
    events.event_day,
    cast(:known_at as date) is null or users.user_id is not null,
    cast(:known_at as date) is null or posts.post_id is not null
