-- apparel_messages, as its owner keeps it: the one place where the owner's names meet ours
-- Grain:         one row per message and event (send, open, click ...)
-- Inputs:        app: apparel_messages
-- Output:        the columns of raw.apparel_messages up to created_at, event_day
-- Point in time: UTC days from first_day to last_day, both included; created_at decides (read in
--                the session's time zone, SOURCE_TZ, where it has none), date where it is null.
--                Rows without a time, or more than a day ahead of the source's clock, come along
--                every time: quarantine takes them once
-- Parameters:    first_day date, last_day date
select
    bulk_campaign_id,
    client_id,
    message_id,
    event,
    channel,
    date,
    created_at,
    cast(
        coalesce(
            cast(created_at as timestamptz) at time zone 'UTC',
            cast(date as timestamp)
        ) as date
    ) as event_day
from apparel_messages
where
    (
        created_at >= cast(cast(:first_day as date) as timestamp) at time zone 'UTC'
        and created_at < cast(cast(:last_day as date) + 1 as timestamp) at time zone 'UTC'
    )
    or (
        created_at is null
        and date between cast(:first_day as date) and cast(:last_day as date)
    )
    or (created_at is null and date is null)
    or created_at > now() + interval '1 day'
    or (created_at is null and date > current_date + 1)
