-- feed_recommendation likers: how many users liked something on each of the last days
-- Grain:         one row per event_day with a like, newest first
-- Inputs:        feature.user_post_day
-- Output:        event_day, users
-- Point in time: days from first_day to the one before as_of, as known by as_of
-- Parameters:    as_of date, first_day date
select
    event_day,
    count(*) as users
from feature.user_post_day
where
    event_day >= cast(:first_day as date)
    and event_day < cast(:as_of as date)
    and known_from <= cast(:as_of as date)
    and known_to > cast(:as_of as date)
    and exists (
        select from unnest(actions) as action
        where action & 2 > 0
    )
group by event_day
order by event_day desc
