-- client_behavior steps: what clients did in a window, client by client and day by day
-- Grain:         one row per client_id, event_day and source
-- Inputs:        feature.step_day
-- Output:        client_id, steps, times
-- Point in time: steps before as_of and known by known_by
-- Parameters:    first_day date, as_of date, known_by date, shard integer, shards integer
--                (client_id's hash modulo shards is shard: 0 of 1 is every client)
with step_day as (
    select
        client_id,
        event_day,
        source,
        steps,
        times
    from feature.step_day
    where
        event_day >= cast(:first_day as date)
        and event_day < cast(:as_of as date)
        and known_from <= cast(:known_by as date)
        and known_to > cast(:known_by as date)
        and mod(abs(cast(hashint8(client_id) as bigint)), cast(:shards as integer))
        = cast(:shard as integer)
),

-- Where the shop's events tell of a purchase that day, the lines, which have no hour, add nothing.
told as (
    select
        client_id,
        event_day
    from step_day
    where source = 'client_event' and 'purchase' = any(steps)
)

select
    step_day.client_id,
    step_day.steps,
    step_day.times
from step_day
where
    step_day.source <> 'apparel_purchases'
    or not exists (
        select 1 from told
        where
            told.client_id = step_day.client_id
            and told.event_day = step_day.event_day
    )
