-- feature.event_day: shop events by client, day and type, versioned as purchase_day is
-- Grain:         one row per client_id, event_day, event_type and known_from
-- Inputs:        raw.client_event
-- Output:        versions known_at for every client and day that changed then; older ones closed
-- Point in time: a version counts only rows known by its known_from; known_at null means on time
--                (event_day + 1), as in a load of history
-- Parameters:    first_day date, last_day date, known_at date or null
with changed as (
    select distinct
        client_id,
        event_day,
        coalesce(cast(:known_at as date), event_day + 1) as known_at
    from raw.client_event
    where
        event_day between cast(:first_day as date) and cast(:last_day as date)
        and (
            cast(:known_at as date) is null
            or known_from = cast(:known_at as date)
            or known_to = cast(:known_at as date)
        )
),

replaced as (
    delete from feature.event_day as old
    using changed
    where
        old.client_id = changed.client_id
        and old.event_day = changed.event_day
        and old.known_from = changed.known_at
),

closed as (
    update feature.event_day as old
    set known_to = changed.known_at
    from changed
    where
        old.client_id = changed.client_id
        and old.event_day = changed.event_day
        and old.known_from < changed.known_at
        and old.known_to = 'infinity'
)

insert into feature.event_day (client_id, event_day, event_type, known_from, events)
select
    events.client_id,
    events.event_day,
    events.event_type,
    changed.known_at,
    count(*)
from raw.client_event as events
inner join changed
    on
        events.client_id = changed.client_id
        and events.event_day = changed.event_day
where
    events.event_day between cast(:first_day as date) and cast(:last_day as date)
    and events.known_from <= changed.known_at
    and events.known_to > changed.known_at
group by
    events.client_id,
    events.event_day,
    events.event_type,
    changed.known_at
