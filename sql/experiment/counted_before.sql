-- experiment counted_before
-- Grain:         one row per experiment that runs on the day before as_of and was counted before
-- Inputs:        experiment.experiment, experiment.user_day
-- Output:        experiment, last_as_of (the newest run before as_of that counted users of it)
-- Point in time: runs before as_of
-- Parameters:    as_of date
select
    running.name as experiment,
    newest.as_of as last_as_of
from experiment.experiment as running
cross join
    lateral (
        select max(user_day.as_of) as as_of
        from experiment.user_day
        where
            user_day.experiment = running.name
            and user_day.as_of < cast(:as_of as date)
    ) as newest
where
    cast(:as_of as date) - 1 >= running.starts_on
    and cast(:as_of as date) - 1 <= coalesce(running.ends_on, 'infinity')
    and newest.as_of is not null
order by running.name
