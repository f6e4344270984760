-- feature.user_post_day: each user's posts of a day as arrays, versioned as purchase_day is
-- Grain:         one row per user_id, event_day and known_from
-- Inputs:        feed_count, feed_user_change
-- Output:        versions known_at for every user and day that changed then; older ones closed
--                post_ids, hours and actions have one element per post, in the order of the
--                first event with it, then of post_id
-- Point in time: a version counts only rows known by its known_from; known_at null means on time
--                (event_day + 1), as in a load of history
-- Parameters:    first_day date, last_day date, known_at date or null
with replaced as (
    delete from feature.user_post_day as old
    using feed_user_change as changed
    where
        old.user_id = changed.user_id
        and old.event_day = changed.event_day
        and old.event_day between cast(:first_day as date) and cast(:last_day as date)
        and old.known_from = cast(:known_at as date)
),

closed as (
    update feature.user_post_day as old
    set known_to = cast(:known_at as date)
    from feed_user_change as changed
    where
        old.user_id = changed.user_id
        and old.event_day = changed.event_day
        and old.event_day between cast(:first_day as date) and cast(:last_day as date)
        and old.known_from < cast(:known_at as date)
        and old.known_to = 'infinity'
)

insert into feature.user_post_day (user_id, event_day, known_from, post_ids, hours, actions)
select
    user_id,
    event_day,
    coalesce(cast(:known_at as date), event_day + 1),
    array_agg(post_id order by first_at, post_id),
    array_agg(
        cast(date_part('hour', first_at at time zone 'UTC') as smallint)
        order by first_at, post_id
    ),
    array_agg(
        cast(
            least(views, 1) + least(likes, 1) * 2 + least(shares, 1) * 4 + least(comments, 1) * 8
            + least(hides, 1) * 16
            as smallint
        )
        order by first_at, post_id
    )
from feed_count
where user_changed
group by
    user_id,
    event_day
