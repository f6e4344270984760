-- feature.post_day: feed events by post and day, versioned as purchase_day is
-- Grain:         one row per post_id, event_day and known_from
-- Inputs:        feed_count, feed_post_change
-- Output:        versions known_at for every post and day that changed then; older ones closed
-- Point in time: a version counts only rows known by its known_from; known_at null means on time
--                (event_day + 1), as in a load of history
-- Parameters:    first_day date, last_day date, known_at date or null
with replaced as (
    delete from feature.post_day as old
    using feed_post_change as changed
    where
        old.post_id = changed.post_id
        and old.event_day = changed.event_day
        and old.event_day between cast(:first_day as date) and cast(:last_day as date)
        and old.known_from = cast(:known_at as date)
),

closed as (
    update feature.post_day as old
    set known_to = cast(:known_at as date)
    from feed_post_change as changed
    where
        old.post_id = changed.post_id
        and old.event_day = changed.event_day
        and old.event_day between cast(:first_day as date) and cast(:last_day as date)
        and old.known_from < cast(:known_at as date)
        and old.known_to = 'infinity'
)

insert into feature.post_day (
    post_id, event_day, known_from, views, likes, shares, comments, hides, viewers, first_view_at
)
select
    post_id,
    event_day,
    coalesce(cast(:known_at as date), event_day + 1),
    sum(views),
    sum(likes),
    sum(shares),
    sum(comments),
    sum(hides),
    count(first_view_at),
    min(first_view_at)
from feed_count
where post_changed
group by
    post_id,
    event_day
