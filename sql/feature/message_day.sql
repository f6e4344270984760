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
),

-- Rows to count; on time those are all there are, and the largest join is spared.
counted as (
    select
        client_id,
        event_day,
        channel,
        event,
        created_at,
        known_from,
        known_to,
        event_day + 1 as known_at
    from raw.apparel_messages
    where
        cast(:known_at as date) is null
        and event_day between cast(:first_day as date) and cast(:last_day as date)
    union all
    select
        messages.client_id,
        messages.event_day,
        messages.channel,
        messages.event,
        messages.created_at,
        messages.known_from,
        messages.known_to,
        changed.known_at
    from raw.apparel_messages as messages
    inner join changed
        on
            messages.client_id = changed.client_id
            and messages.event_day = changed.event_day
    where
        cast(:known_at as date) is not null
        and messages.event_day between cast(:first_day as date) and cast(:last_day as date)
)

insert into feature.message_day (
    client_id, event_day, channel, known_from, sends, opens, clicks, purchases, closes,
    unsubscribes, complaints, hard_bounces, soft_bounces, answer_hours
)
select
    client_id,
    event_day,
    channel,
    known_at,
    count(*) filter (where event = 'send'),
    count(*) filter (where event = 'open'),
    count(*) filter (where event = 'click'),
    count(*) filter (where event = 'purchase'),
    count(*) filter (where event = 'close'),
    count(*) filter (where event = 'unsubscribe'),
    count(*) filter (where event = 'complain'),
    count(*) filter (where event = 'hard_bounce'),
    count(*) filter (where event = 'soft_bounce'),
    coalesce(
        array_agg(cast(extract(hour from created_at) as smallint) order by created_at)
        filter (where event in ('open', 'click') and created_at is not null),
        '{}'
    )
from counted
where known_from <= known_at and known_to > known_at
group by
    client_id,
    event_day,
    channel,
    known_at
