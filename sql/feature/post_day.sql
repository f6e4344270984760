-- feature.post_day: feed events by post and day, versioned as purchase_day is
-- Grain:         one row per post_id, event_day and known_from
-- Inputs:        raw.feed_data
-- Output:        versions known_at for every post and day that changed then; older ones closed
-- Point in time: a version counts only rows known by its known_from; known_at null means on time
--                (event_day + 1), as in a load of history
-- Parameters:    first_day date, last_day date, known_at date or null
with changed as (
    select distinct
        post_id,
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
    delete from feature.post_day as old
    using changed
    where
        old.post_id = changed.post_id
        and old.event_day = changed.event_day
        and old.event_day between cast(:first_day as date) and cast(:last_day as date)
        and old.known_from = changed.known_at
),

closed as (
    update feature.post_day as old
    set known_to = changed.known_at
    from changed
    where
        old.post_id = changed.post_id
        and old.event_day = changed.event_day
        and old.event_day between cast(:first_day as date) and cast(:last_day as date)
        and old.known_from < changed.known_at
        and old.known_to = 'infinity'
),

-- Rows to count; on time those are all there are, and the largest join is spared.
counted as (
    select
        post_id,
        user_id,
        event_day,
        action,
        timestamp as happened_at,
        known_from,
        known_to,
        event_day + 1 as known_at
    from raw.feed_data
    where
        cast(:known_at as date) is null
        and event_day between cast(:first_day as date) and cast(:last_day as date)
    union all
    select
        events.post_id,
        events.user_id,
        events.event_day,
        events.action,
        events.timestamp as happened_at,
        events.known_from,
        events.known_to,
        changed.known_at
    from raw.feed_data as events
    inner join changed
        on
            events.post_id = changed.post_id
            and events.event_day = changed.event_day
    where
        cast(:known_at as date) is not null
        and events.event_day between cast(:first_day as date) and cast(:last_day as date)
),

-- By user first, so that viewers are counted without sorting all rows.
by_user as (
    select
        post_id,
        event_day,
        known_at,
        count(*) filter (where action = 'view') as views,
        count(*) filter (where action = 'like') as likes,
        count(*) filter (where action = 'share') as shares,
        count(*) filter (where action = 'comment') as comments,
        count(*) filter (where action = 'hide') as hides,
        min(happened_at) filter (where action = 'view') as first_view_at
    from counted
    where known_from <= known_at and known_to > known_at
    group by
        post_id,
        event_day,
        known_at,
        user_id
)

insert into feature.post_day (
    post_id, event_day, known_from, views, likes, shares, comments, hides, viewers, first_view_at
)
select
    post_id,
    event_day,
    known_at,
    sum(views),
    sum(likes),
    sum(shares),
    sum(comments),
    sum(hides),
    count(*) filter (where views > 0),
    min(first_view_at)
from by_user
group by
    post_id,
    event_day,
    known_at
