-- experiment sums
-- Grain:         one row per span (day: the day before as_of; total: since the experiment began),
--                experiment that has rows on that day, and planned arm
-- Inputs:        experiment.user_day, experiment.user_total, experiment.frozen,
--                experiment.experiment
-- Output:        first_as_of, assigned (users by their first arm), expected (users by the shares of
--                their first day), users (without those in both arms), users_in_both, and the sums,
--                squares and products over users from which ratios and their variances follow
-- Point in time: users as counted by as_of; shares frozen for the day that a user was first shown
--                something, else for the newest day before it, else as they are now
-- Parameters:    as_of date
with person as (
    select
        'day' as span,
        user_day.experiment,
        user_day.as_of as first_as_of,
        user_day.arm,
        user_day.in_both,
        cast(user_day.impressions as double precision) as impressions,
        cast(user_day.hits as double precision) as hits,
        cast(user_day.views as double precision) as views,
        cast(user_day.likes as double precision) as likes
    from experiment.user_day
    where user_day.as_of = cast(:as_of as date)
    union all
    select
        'total',
        user_total.experiment,
        user_total.first_as_of,
        user_total.arm,
        user_total.in_both,
        user_total.impressions,
        user_total.hits,
        user_total.views,
        user_total.likes
    from experiment.user_total
    where user_total.as_of = cast(:as_of as date)
),

arrived as (
    select
        span,
        experiment,
        first_as_of,
        count(*) as assigned
    from person
    group by
        span,
        experiment,
        first_as_of
),

planned as (
    select
        arrived.span,
        arrived.experiment,
        share.arm,
        sum(arrived.assigned * share.share / whole.share) as expected
    from arrived
    inner join experiment.experiment as described on arrived.experiment = described.name
    left join lateral (
        select
            frozen.arms,
            frozen.shares
        from experiment.frozen
        where frozen.name = arrived.experiment and frozen.as_of < arrived.first_as_of
        order by frozen.as_of desc
        limit 1
    ) as settled on true
    cross join
        lateral unnest(
            coalesce(settled.arms, described.arms), coalesce(settled.shares, described.shares)
        ) as share (arm, share)
    cross join
        lateral (
            select sum(part) as share
            from unnest(coalesce(settled.shares, described.shares)) as part
        ) as whole
    group by
        arrived.span,
        arrived.experiment,
        share.arm
),

counted as (
    select
        span,
        experiment,
        arm,
        count(*) as assigned,
        count(*) filter (where not in_both) as users,
        count(*) filter (where in_both) as users_in_both,
        sum(impressions) filter (where not in_both) as impressions,
        sum(hits) filter (where not in_both) as hits,
        sum(views) filter (where not in_both) as views,
        sum(likes) filter (where not in_both) as likes,
        count(*) filter (where not in_both and likes > 0) as likers,
        sum(impressions * impressions) filter (where not in_both) as impressions_squared,
        sum(hits * hits) filter (where not in_both) as hits_squared,
        sum(impressions * hits) filter (where not in_both) as impressions_hits,
        sum(views * views) filter (where not in_both) as views_squared,
        sum(likes * likes) filter (where not in_both) as likes_squared,
        sum(views * likes) filter (where not in_both) as views_likes
    from person
    group by
        span,
        experiment,
        arm
),

began as (
    select
        span,
        experiment,
        min(first_as_of) as first_as_of
    from arrived
    group by
        span,
        experiment
)

select
    planned.span,
    planned.experiment,
    planned.arm,
    array_position(described.arms, planned.arm) as place,
    described.primary_metric,
    began.first_as_of,
    cast(planned.expected as double precision) as expected,
    coalesce(counted.assigned, 0) as assigned,
    coalesce(counted.users, 0) as users,
    coalesce(counted.users_in_both, 0) as users_in_both,
    coalesce(counted.impressions, 0) as impressions,
    coalesce(counted.hits, 0) as hits,
    coalesce(counted.views, 0) as views,
    coalesce(counted.likes, 0) as likes,
    coalesce(counted.likers, 0) as likers,
    coalesce(counted.impressions_squared, 0) as impressions_squared,
    coalesce(counted.hits_squared, 0) as hits_squared,
    coalesce(counted.impressions_hits, 0) as impressions_hits,
    coalesce(counted.views_squared, 0) as views_squared,
    coalesce(counted.likes_squared, 0) as likes_squared,
    coalesce(counted.views_likes, 0) as views_likes
from planned
inner join experiment.experiment as described on planned.experiment = described.name
inner join began
    on planned.span = began.span and planned.experiment = began.experiment
left join counted
    on
        planned.span = counted.span
        and planned.experiment = counted.experiment
        and planned.arm = counted.arm
where
    exists (
        select from experiment.user_day
        where
            user_day.as_of = cast(:as_of as date)
            and user_day.experiment = planned.experiment
    )
order by
    planned.span,
    planned.experiment,
    place,
    planned.arm
