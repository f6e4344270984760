-- post_conversion, a published day beside what then happened
-- Grain:         one row per action and post published in the week before that day
-- Inputs:        result.post_conversion, feature.post_life, feature.post_day, raw.post_text_df
-- Output:        post_id, action, topic, rate (as predicted), views and count of its window
-- Point in time: the window is over; what is known of it by known_by. A post with fewer views now
--                than before counts as they stand
-- Parameters:    published date, window_days integer, known_by date
with week as (
    select
        post_id,
        cast(published_at at time zone 'UTC' as date) as published_day
    from feature.post_life
    where
        known_from <= cast(:published as date)
        and known_to > cast(:published as date)
        and published_at >= cast(cast(:published as date) - 7 as timestamp) at time zone 'UTC'
        and published_at < cast(cast(:published as date) as timestamp) at time zone 'UTC'
),

counted as (
    select
        week.post_id,
        sum(day.views) as views,
        sum(day.likes) as likes,
        sum(day.shares) as shares,
        sum(day.comments) as comments,
        sum(day.hides) as hides
    from week
    inner join feature.post_day as day
        on
            week.post_id = day.post_id
            and week.published_day <= day.event_day
            and week.published_day + cast(:window_days as integer) > day.event_day
    where day.known_from <= cast(:known_by as date) and day.known_to > cast(:known_by as date)
    group by week.post_id
)

select
    scored.post_id,
    scored.action,
    coalesce(posts.topic, 'unknown') as topic,
    cast(scored.predicted_rate as double precision) as rate,
    cast(counted.views as bigint) as views,
    cast(
        case scored.action
            when 'like' then counted.likes
            when 'share' then counted.shares
            when 'comment' then counted.comments
            else counted.hides
        end as bigint
    ) as count
from result.post_conversion as scored
inner join counted on scored.post_id = counted.post_id
left join raw.post_text_df as posts
    on
        scored.post_id = posts.post_id
        and posts.known_from <= cast(:published as date)
        and posts.known_to > cast(:published as date)
where scored.as_of = cast(:published as date) and counted.views > 0
order by
    scored.action,
    scored.post_id
