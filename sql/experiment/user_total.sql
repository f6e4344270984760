-- experiment user_total
-- Grain:         one row per experiment and user ever shown something
-- Inputs:        experiment.user_total (the newest snapshot before as_of), experiment.user_day
-- Output:        the snapshot of as_of in experiment.user_total: the newest one before it and the
--                days since; all days where there is none
-- Point in time: runs up to as_of
-- Parameters:    as_of date
insert into experiment.user_total (
    experiment,
    as_of,
    user_id,
    first_as_of,
    arm,
    in_both,
    impressions,
    hits,
    views,
    likes
)
with built_on as (
    select coalesce(max(user_total.as_of), '-infinity') as as_of
    from experiment.user_total
    where user_total.as_of < cast(:as_of as date)
),

part as (
    select
        user_total.experiment,
        user_total.user_id,
        user_total.first_as_of,
        user_total.arm,
        user_total.in_both,
        user_total.impressions,
        user_total.hits,
        user_total.views,
        user_total.likes
    from experiment.user_total
    where user_total.as_of = (select built_on.as_of from built_on)
    union all
    select
        user_day.experiment,
        user_day.user_id,
        user_day.as_of,
        user_day.arm,
        user_day.in_both,
        user_day.impressions,
        user_day.hits,
        user_day.views,
        user_day.likes
    from experiment.user_day
    where
        user_day.as_of > (select built_on.as_of from built_on)
        and user_day.as_of <= cast(:as_of as date)
)

select
    part.experiment,
    cast(:as_of as date) as as_of,
    part.user_id,
    min(part.first_as_of) as first_as_of,
    (array_agg(part.arm order by part.first_as_of))[1] as arm,
    bool_or(part.in_both) or min(part.arm) <> max(part.arm) as in_both,
    sum(part.impressions) as impressions,
    sum(part.hits) as hits,
    sum(part.views) as views,
    sum(part.likes) as likes
from part
group by
    part.experiment,
    part.user_id
