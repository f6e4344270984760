-- simulated feed: what users have viewed
-- Grain:         one row per view
-- Inputs:        feed_data, simulation.social_pending (viewed, though the row is late)
-- Output:        user_id, post_id
-- Point in time: timestamp before day 00:00 UTC
-- Parameters:    users bigint[], day date
select
    user_id,
    post_id
from feed_data
where
    user_id = any(cast(:users as bigint[])) and timestamp < cast(:day as date) and action = 'view'
union all
select
    user_id,
    post_id
from simulation.social_pending
where
    user_id = any(cast(:users as bigint[])) and timestamp < cast(:day as date) and action = 'view'
