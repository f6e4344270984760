-- feed_data, as its owner keeps it: the one place where the owner's names meet ours
-- Grain:         one row per event of a user with a post
-- Inputs:        app: feed_data
-- Output:        the columns of raw.feed_data up to target, event_day
-- Point in time: UTC days from first_day to last_day, both included; timestamp is read in the
--                session's time zone, SOURCE_TZ, where it has none. Rows without a time, or more
--                than a day ahead of the source's clock, come along every time: quarantine
--                takes them once
-- Parameters:    first_day date, last_day date
select
    feed_data.timestamp,
    feed_data.user_id,
    feed_data.post_id,
    feed_data.action,
    -- Owners keep it in numbers of any kind; what is not 0 or 1 stays recognisable as wrong.
    cast(
        case
            when feed_data.target in (0, 1) then feed_data.target
            when feed_data.target is not null then 2
        end as smallint
    ) as target,
    cast(cast(feed_data.timestamp as timestamptz) at time zone 'UTC' as date) as event_day
from feed_data
where
    (
        feed_data.timestamp >= cast(cast(:first_day as date) as timestamp) at time zone 'UTC'
        and feed_data.timestamp
        < cast(cast(:last_day as date) + 1 as timestamp) at time zone 'UTC'
    )
    or feed_data.timestamp is null
    or feed_data.timestamp > now() + interval '1 day'
