-- experiment days_to_count
-- Grain:         one row per day
-- Inputs:        experiment.impression, experiment.user_day, ops.load
-- Output:        as_of: runs up to this one whose day before has impressions and loaded feed events,
--                and was never counted; this run's own as_of is always among them
-- Point in time: loads known by each run
-- Parameters:    as_of date, first_day date (the first day that may have impressions)
with wanted as (
    select cast(day as date) as event_day
    from
        generate_series(
            cast(:first_day as date), cast(:as_of as date) - 1, interval '1 day'
        ) as series (day)
)

select wanted.event_day + 1 as as_of
from wanted
where
    wanted.event_day + 1 = cast(:as_of as date)
    or (
        not exists (
            select from experiment.user_day
            where user_day.as_of = wanted.event_day + 1
        )
        and exists (
            select from experiment.impression
            where
                impression.served_at >= cast(wanted.event_day as timestamp) at time zone 'UTC'
                and impression.served_at
                < cast(wanted.event_day + 1 as timestamp) at time zone 'UTC'
        )
        and exists (
            select from ops.load
            where
                load.table_name = 'feed_data'
                and load.event_day = wanted.event_day
                and load.as_of <= cast(:as_of as date)
        )
    )
order by as_of
