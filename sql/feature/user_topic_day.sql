-- feature.user_topic_day: feed events by user, day and topic, versioned as purchase_day is
-- Grain:         one row per user_id, event_day, topic and known_from
-- Inputs:        raw.feed_data, raw.post_text_df (the topic)
-- Output:        versions known_at for every user and day that changed then; older ones closed
-- Point in time: a version counts only rows known by its known_from, under the topic that the post
--                had then; known_at null means on time (event_day + 1), as in a load of history
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
    delete from feature.user_topic_day as old
    using changed
    where
        old.user_id = changed.user_id
        and old.event_day = changed.event_day
        and old.event_day between cast(:first_day as date) and cast(:last_day as date)
        and old.known_from = changed.known_at
),

closed as (
    update feature.user_topic_day as old
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
)

insert into feature.user_topic_day (
    user_id, event_day, topic, known_from, views, likes, shares, comments, hides
)
select
    counted.user_id,
    counted.event_day,
    coalesce(nullif(posts.topic, ''), 'unknown') as topic,
    counted.known_at,
    count(*) filter (where counted.action = 'view'),
    count(*) filter (where counted.action = 'like'),
    count(*) filter (where counted.action = 'share'),
    count(*) filter (where counted.action = 'comment'),
    count(*) filter (where counted.action = 'hide')
from counted
left join raw.post_text_df as posts
    on
        counted.post_id = posts.post_id
        and counted.known_at >= posts.known_from
        and counted.known_at < posts.known_to
where counted.known_from <= counted.known_at and counted.known_to > counted.known_at
group by
    counted.user_id,
    counted.event_day,
    coalesce(nullif(posts.topic, ''), 'unknown'),
    counted.known_at
