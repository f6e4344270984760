-- feature.user_hour_day: views and likes by user, day and UTC hour, versioned as purchase_day is
-- Grain:         one row per user_id, event_day, hour and known_from
-- Inputs:        raw.feed_data, feed_user_change
-- Output:        versions known_at for every user and day that changed then; older ones closed
-- Point in time: a version counts only rows known by its known_from; known_at null means on time
--                (event_day + 1), as in a load of history
-- Parameters:    first_day date, last_day date, known_at date or null
with replaced as (
    delete from feature.user_hour_day as old
    using feed_user_change as changed
    where
        old.user_id = changed.user_id
        and old.event_day = changed.event_day
        and old.event_day between cast(:first_day as date) and cast(:last_day as date)
        and old.known_from = cast(:known_at as date)
),

closed as (
    update feature.user_hour_day as old
    set known_to = cast(:known_at as date)
    from feed_user_change as changed
    where
        old.user_id = changed.user_id
        and old.event_day = changed.event_day
        and old.event_day between cast(:first_day as date) and cast(:last_day as date)
        and old.known_from < cast(:known_at as date)
        and old.known_to = 'infinity'
)

insert into feature.user_hour_day (user_id, event_day, hour, known_from, views, likes)
select
    events.user_id,
    events.event_day,
    cast(date_part('hour', events.timestamp at time zone 'UTC') as smallint) as hour,
    coalesce(cast(:known_at as date), events.event_day + 1),
    count(*) filter (where events.action = 'view'),
    count(*) filter (where events.action = 'like')
from raw.feed_data as events
left join feed_user_change as changed
    on
        events.user_id = changed.user_id
        and events.event_day = changed.event_day
where
    events.event_day between cast(:first_day as date) and cast(:last_day as date)
    and events.known_from <= coalesce(cast(:known_at as date), events.event_day + 1)
    and events.known_to > coalesce(cast(:known_at as date), events.event_day + 1)
    and events.action in ('view', 'like')
    and (cast(:known_at as date) is null or changed.user_id is not null)
group by
    events.user_id,
    events.event_day,
    cast(date_part('hour', events.timestamp at time zone 'UTC') as smallint)
