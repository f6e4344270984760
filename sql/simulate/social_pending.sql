-- simulated feed: what happened and has not reached the source yet
-- Grain:         one row per row of feed_data to come
-- Inputs:        none
-- Output:        table simulation.social_pending in database app
-- Point in time: written with the day the row belongs to, taken out on its day of arrival
-- Parameters:    none
create table if not exists simulation.social_pending (
    arrival date,
    timestamp timestamp without time zone,
    user_id bigint,
    post_id bigint,
    action text,
    target integer
)
