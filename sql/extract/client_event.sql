-- client_event, as its owner keeps it: the one place where the owner's names meet ours
-- Grain:         one row per event of a client in the shop
-- Inputs:        app: client_event
-- Output:        the columns of raw.client_event up to product_id, event_day
-- Point in time: UTC days from first_day to last_day, both included; event_time is read in the
--                session's time zone, SOURCE_TZ, where it has none. Rows without a time, or more
--                than a day ahead of the source's clock, come along every time: quarantine
--                takes them once
-- Parameters:    first_day date, last_day date
select
    client_id,
    event_time,
    event_type,
    product_id,
    cast(cast(event_time as timestamptz) at time zone 'UTC' as date) as event_day
from client_event
where
    (
        event_time >= cast(cast(:first_day as date) as timestamp) at time zone 'UTC'
        and event_time < cast(cast(:last_day as date) + 1 as timestamp) at time zone 'UTC'
    )
    or event_time is null
    or event_time > now() + interval '1 day'
