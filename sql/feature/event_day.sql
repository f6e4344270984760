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
),

-- Rows to count; on time those are all there are, and the largest join is spared.
counted as (
    select
        client_id,
        event_day,
        event_type,
        known_from,
        known_to,
        event_day + 1 as known_at
    from raw.client_event
    where
        cast(:known_at as date) is null
        and event_day between cast(:first_day as date) and cast(:last_day as date)
    union all
    select
        events.client_id,
        events.event_day,
        events.event_type,
        events.known_from,
        events.known_to,
        changed.known_at
    from raw.client_event as events
    inner join changed
        on
            events.client_id = changed.client_id
            and events.event_day = changed.event_day
    where
        cast(:known_at as date) is not null
        and events.event_day between cast(:first_day as date) and cast(:last_day as date)
)

insert into feature.event_day (client_id, event_day, event_type, known_from, events)
select
    client_id,
    event_day,
    event_type,
    known_at,
    count(*)
from counted
where known_from <= known_at and known_to > known_at
group by
    client_id,
    event_day,
    event_type,
    known_at
