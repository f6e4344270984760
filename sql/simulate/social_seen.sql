-- simulated feed: what users have viewed
-- Grain:         one row per view of a known user
-- Inputs:        feed_data; simulation.social_pending: viewed, though the row is late
-- Output:        user_id, post_id
-- Point in time: timestamp before day 00:00 UTC
-- Parameters:    day date
select
    user_id,
    post_id
from feed_data
where timestamp < cast(:day as date) and action = 'view' and user_id is not null
union all
select
    user_id,
    post_id
from simulation.social_pending
where timestamp < cast(:day as date) and action = 'view' and user_id is not null
