-- experiment user_day
-- Grain:         one row per experiment and user who was shown something on the day before as_of
-- Inputs:        experiment.impression, experiment.experiment, raw.feed_data
-- Output:        experiment.user_day
-- Point in time: impressions of the day before as_of, as the log has them now; events of that day
--                known by as_of. An event counts for what was shown before it, on the same day;
--                skew allows for clocks that differ.
-- Parameters:    as_of date, skew text (an interval)
insert into experiment.user_day (
    experiment, as_of, user_id, arm, in_both, impressions, hits, views, likes
)
with answer as (
    select
        impression.experiment,
        impression.request_id,
        impression.user_id,
        impression.arm,
        impression.served_at,
        impression.post_ids,
        impression.positions
    from experiment.impression
    inner join experiment.experiment as running
        on
            impression.experiment = running.name
            and impression.arm = any(running.arms)
            and cast(:as_of as date) - 1 >= running.starts_on
            and cast(:as_of as date) - 1 <= coalesce(running.ends_on, 'infinity')
    where
        impression.served_at
        >= cast(cast(:as_of as date) - 1 as timestamp) at time zone 'UTC'
        and impression.served_at < cast(cast(:as_of as date) as timestamp) at time zone 'UTC'
),

event as (
    select
        user_id,
        post_id,
        max(timestamp) as last_seen_at,
        max(timestamp) filter (where action = 'like') as last_liked_at
    from raw.feed_data
    where
        event_day = cast(:as_of as date) - 1
        and known_from <= cast(:as_of as date)
        and known_to > cast(:as_of as date)
        and action in ('view', 'like')
    group by
        user_id,
        post_id
),

shown as (
    select
        answer.experiment,
        answer.request_id,
        answer.user_id,
        answer.served_at - cast(:skew as interval) as since,
        post.post_id,
        post.position
    from answer
    cross join lateral unnest(answer.post_ids, answer.positions) as post (post_id, position)
),

-- What the user did with each post of each answer.
outcome as (
    select
        shown.experiment,
        shown.request_id,
        shown.user_id,
        shown.post_id,
        shown.position,
        event.last_liked_at >= shown.since as is_liked
    from shown
    inner join event
        on
            shown.user_id = event.user_id
            and shown.post_id = event.post_id
            and shown.since <= event.last_seen_at
),

hit as (
    select
        experiment,
        user_id,
        count(distinct request_id) as hits
    from outcome
    where is_liked and position <= 5
    group by
        experiment,
        user_id
),

post as (
    select
        experiment,
        user_id,
        count(distinct post_id) as views,
        count(distinct post_id) filter (where is_liked) as likes
    from outcome
    group by
        experiment,
        user_id
),

shown_to as (
    select
        experiment,
        user_id,
        (array_agg(arm order by served_at, request_id))[1] as arm,
        min(arm) <> max(arm) as in_both,
        count(*) as impressions
    from answer
    group by
        experiment,
        user_id
)

select
    shown_to.experiment,
    cast(:as_of as date) as as_of,
    shown_to.user_id,
    shown_to.arm,
    shown_to.in_both,
    shown_to.impressions,
    coalesce(hit.hits, 0) as hits,
    coalesce(post.views, 0) as views,
    coalesce(post.likes, 0) as likes
from shown_to
left join hit on shown_to.experiment = hit.experiment and shown_to.user_id = hit.user_id
left join post on shown_to.experiment = post.experiment and shown_to.user_id = post.user_id
