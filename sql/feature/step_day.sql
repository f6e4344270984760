-- feature.step_day: what clients did, in order of time, by client and day; versions as purchase_day
-- Grain:         one row per client_id, event_day, source and known_from
-- Inputs:        raw.client_step (client_event, apparel_messages or apparel_purchases)
-- Output:        versions known_at for every client and day that changed then; older ones closed
-- Point in time: a version counts only rows known by its known_from; known_at null means on time
--                (event_day + 1), as in a load of history
-- Parameters:    source text, first_day date, last_day date, known_at date or null
with changed as (
    select distinct
        client_id,
        event_day,
        coalesce(cast(:known_at as date), event_day + 1) as known_at
    from raw.client_step
    where
        source = cast(:source as text)
        and event_day between cast(:first_day as date) and cast(:last_day as date)
        and (
            cast(:known_at as date) is null
            or known_from = cast(:known_at as date)
            or known_to = cast(:known_at as date)
        )
),

replaced as (
    delete from feature.step_day as old
    using changed
    where
        old.client_id = changed.client_id
        and old.event_day = changed.event_day
        and old.source = cast(:source as text)
        and old.known_from = changed.known_at
),

closed as (
    update feature.step_day as old
    set known_to = changed.known_at
    from changed
    where
        old.client_id = changed.client_id
        and old.event_day = changed.event_day
        and old.source = cast(:source as text)
        and old.known_from < changed.known_at
        and old.known_to = 'infinity'
),

-- Rows to count; on time those are all there are, and the largest join is spared.
counted as (
    select
        client_id,
        event_day,
        step,
        at,
        known_from,
        known_to,
        event_day + 1 as known_at
    from raw.client_step
    where
        source = cast(:source as text)
        and cast(:known_at as date) is null
        and event_day between cast(:first_day as date) and cast(:last_day as date)
    union all
    select
        steps.client_id,
        steps.event_day,
        steps.step,
        steps.at,
        steps.known_from,
        steps.known_to,
        changed.known_at
    from raw.client_step as steps
    inner join changed
        on
            steps.client_id = changed.client_id
            and steps.event_day = changed.event_day
    where
        steps.source = cast(:source as text)
        and cast(:known_at as date) is not null
        and steps.event_day between cast(:first_day as date) and cast(:last_day as date)
),

-- The lines of a basket are one purchase, and so are two products looked at in one moment.
moments as (
    select distinct
        client_id,
        event_day,
        known_at,
        step,
        at
    from counted
    where known_from <= known_at and known_to > known_at
)

insert into feature.step_day (client_id, event_day, source, known_from, steps, times)
select
    client_id,
    event_day,
    cast(:source as text),
    known_at,
    array_agg(step order by at, step),
    array_agg(at order by at, step)
from moments
group by
    client_id,
    event_day,
    known_at
