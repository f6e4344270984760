-- feed_recommendation published lists of users who liked something on the day they were for
-- Grain:         one row per user_id and day_part; ordered by user_id and day_part
-- Inputs:        result.feed_recommendation, feature.user_post_day
-- Output:        user_id, day_part, arm, post_ids (the first ten)
-- Point in time: likes of the day as known by known_by
-- Parameters:    published date, known_by date
select
    list.user_id,
    list.day_part,
    list.arm,
    list.post_ids[1:10] as post_ids
from result.feed_recommendation as list
inner join feature.user_post_day as day
    on list.user_id = day.user_id
where
    list.as_of = cast(:published as date)
    and day.event_day = cast(:published as date)
    and day.known_from <= cast(:known_by as date)
    and day.known_to > cast(:known_by as date)
    and exists (
        select from unnest(day.actions) as action
        where action & 2 > 0
    )
order by
    list.user_id,
    list.day_part
