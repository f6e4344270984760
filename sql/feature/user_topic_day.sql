-- feature.user_topic_day: feed events by user, day and topic, versioned as purchase_day is
-- Grain:         one row per user_id, event_day, topic and known_from
-- Inputs:        feed_count, feed_user_change, raw.post_text_df (the topic)
-- Output:        versions known_at for every user and day that changed then; older ones closed
-- Point in time: a version counts only rows known by its known_from, under the topic that the post
--                had then; known_at null means on time (event_day + 1), as in a load of history
-- Parameters:    first_day date, last_day date, known_at date or null
with replaced as (
    delete from feature.user_topic_day as old
    using feed_user_change as changed
    where
        old.user_id = changed.user_id
        and old.event_day = changed.event_day
        and old.event_day between cast(:first_day as date) and cast(:last_day as date)
        and old.known_from = cast(:known_at as date)
),

closed as (
    update feature.user_topic_day as old
    set known_to = cast(:known_at as date)
    from feed_user_change as changed
    where
        old.user_id = changed.user_id
        and old.event_day = changed.event_day
        and old.event_day between cast(:first_day as date) and cast(:last_day as date)
        and old.known_from < cast(:known_at as date)
        and old.known_to = 'infinity'
)

insert into feature.user_topic_day (
    user_id, event_day, topic, known_from, views, likes, shares, comments, hides
)
select
    counts.user_id,
    counts.event_day,
    coalesce(nullif(posts.topic, ''), 'unknown') as topic,
    coalesce(cast(:known_at as date), counts.event_day + 1),
    sum(counts.views),
    sum(counts.likes),
    sum(counts.shares),
    sum(counts.comments),
    sum(counts.hides)
from feed_count as counts
left join raw.post_text_df as posts
    on
        counts.post_id = posts.post_id
        and coalesce(cast(:known_at as date), counts.event_day + 1) >= posts.known_from
        and coalesce(cast(:known_at as date), counts.event_day + 1) < posts.known_to
where counts.user_changed
group by
    counts.user_id,
    counts.event_day,
    coalesce(nullif(posts.topic, ''), 'unknown')
