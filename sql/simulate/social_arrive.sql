-- simulated feed: late rows reach the source
-- Grain:         one row per row of feed_data that arrives on the day
-- Inputs:        simulation.social_pending
-- Output:        feed_data with these rows, simulation.social_pending without them
-- Point in time: arrival up to day
-- Parameters:    day date
with arrived as (
    delete from simulation.social_pending
    where arrival <= :day
    returning timestamp, user_id, post_id, action, target
)

insert into feed_data (timestamp, user_id, post_id, action, target)
select
    timestamp,
    user_id,
    post_id,
    action,
    target
from arrived
