-- feature.user_post_day: each user's posts of a day as arrays, versioned as purchase_day is
-- Grain:         one row per user_id, event_day and known_from
-- Inputs:        raw.feed_data
-- Output:        versions known_at for every user and day that changed then; older ones closed
--                post_ids, hours and actions have one element per post, in the order of the
--                first event with it, then of post_id
-- Point in time: a version counts only rows known by its known_from; known_at null means on time
--                (event_day + 1), as in a load of history
-- Parameters:    first_day date, last_day date, known_at date or null
with changed as (
    select distinct
        user_id,
        event_day,
        coalesce(cast(:known_at as date), event_day + 1) as known_at
    from raw.feed_data
    where
        event_day between cast(:first_day as date) and cast(:last_day as date)
        and (
            cast(:known_at as date) is null
            or known_from = cast(:known_at as date)
            or known_to = cast(:known_at as date)
        )
),

replaced as (
    delete from feature.user_post_day as old
    using changed
    where
        old.user_id = changed.user_id
        and old.event_day = changed.event_day
        and old.event_day between cast(:first_day as date) and cast(:last_day as date)
        and old.known_from = changed.known_at
),

closed as (
    update feature.user_post_day as old
    set known_to = changed.known_at
    from changed
    where
        old.user_id = changed.user_id
        and old.event_day = changed.event_day
        and old.event_day between cast(:first_day as date) and cast(:last_day as date)
        and old.known_from < changed.known_at
        and old.known_to = 'infinity'
),

-- Rows to count; on time those are all there are, and the largest join is spared.
counted as (
    select
        user_id,
        post_id,
        event_day,
        timestamp as happened_at,
        action,
        known_from,
        known_to,
        event_day + 1 as known_at
    from raw.feed_data
    where
        cast(:known_at as date) is null
        and event_day between cast(:first_day as date) and cast(:last_day as date)
    union all
    select
        events.user_id,
        events.post_id,
        events.event_day,
        events.timestamp as happened_at,
        events.action,
        events.known_from,
        events.known_to,
        changed.known_at
    from raw.feed_data as events
    inner join changed
        on
            events.user_id = changed.user_id
            and events.event_day = changed.event_day
    where
        cast(:known_at as date) is not null
        and events.event_day between cast(:first_day as date) and cast(:last_day as date)
),

by_post as (
    select
        user_id,
        event_day,
        known_at,
        post_id,
        min(happened_at) as first_at,
        bit_or(
            case action
                when 'view' then 1 when 'like' then 2 when 'share' then 4 when 'comment' then 8
                when 'hide' then 16
            end
        ) as actions
    from counted
    where known_from <= known_at and known_to > known_at
    group by
        user_id,
        event_day,
        known_at,
        post_id
)

insert into feature.user_post_day (user_id, event_day, known_from, post_ids, hours, actions)
select
    user_id,
    event_day,
    known_at,
    array_agg(post_id order by first_at, post_id),
    array_agg(
        cast(extract(hour from first_at at time zone 'UTC') as smallint) order by first_at, post_id
    ),
    array_agg(cast(actions as smallint) order by first_at, post_id)
from by_post
group by
    user_id,
    event_day,
    known_at
