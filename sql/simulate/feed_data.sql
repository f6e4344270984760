-- simulated feed: what users do in it
-- Grain:         one row per action; a few rows are there twice, so there is no key
-- Inputs:        none
-- Output:        table feed_data in database app
-- Point in time: timestamp (UTC) is the action's time; a row may arrive days later
-- Parameters:    none
create table if not exists feed_data (
    timestamp timestamp without time zone,
    user_id bigint,
    post_id bigint,
    action text,
    target integer
)
