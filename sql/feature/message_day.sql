-- feature.message_day: message events by client, day and channel, versioned as purchase_day is
-- Grain:         one row per client_id, event_day, channel and known_from
-- Inputs:        raw.apparel_messages
-- Output:        versions known_at for every client and day that changed then; older ones closed
-- Point in time: a version counts only rows known by its known_from; known_at null means on time
--                (event_day + 1), as in a load of history
-- Parameters:    first_day date, last_day date, known_at date or null
with changed as (
    select distinct
        client_id,
        event_day,
        coalesce(cast(:known_at as date), event_day + 1) as known_at
    from raw.apparel_messages
    where
        event_day between cast(:first_day as date) and cast(:last_day as date)
        and (
            cast(:known_at as date) is null
            or known_from = cast(:known_at as date)
            or known_to = cast(:known_at as date)
        )
),

replaced as (
    delete from feature.message_day as old
    using changed
    where
        old.client_id = changed.client_id
        and old.event_day = changed.event_day
        and old.known_from = changed.known_at
),

closed as (
    update feature.message_day as old
    set known_to = changed.known_at
    from changed
    where
        old.client_id = changed.client_id
        and old.event_day = changed.event_day
        and old.known_from < changed.known_at
        and old.known_to = 'infinity'
)

insert into feature.message_day (
    client_id, event_day, channel, known_from, sends, opens, clicks, purchases, closes,
    unsubscribes, complaints, hard_bounces, soft_bounces
)
select
    messages.client_id,
    messages.event_day,
    messages.channel,
    changed.known_at,
    count(*) filter (where messages.event = 'send'),
    count(*) filter (where messages.event = 'open'),
    count(*) filter (where messages.event = 'click'),
    count(*) filter (where messages.event = 'purchase'),
    count(*) filter (where messages.event = 'close'),
    count(*) filter (where messages.event = 'unsubscribe'),
    count(*) filter (where messages.event = 'complain'),
    count(*) filter (where messages.event = 'hard_bounce'),
    count(*) filter (where messages.event = 'soft_bounce')
from raw.apparel_messages as messages
inner join changed
    on
        messages.client_id = changed.client_id
        and messages.event_day = changed.event_day
where
    messages.event_day between cast(:first_day as date) and cast(:last_day as date)
    and messages.known_from <= changed.known_at
    and messages.known_to > changed.known_at
group by
    messages.client_id,
    messages.event_day,
    messages.channel,
    changed.known_at
