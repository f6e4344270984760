-- which simulated days of the feed the source has seen
-- Grain:         one row per day, without gaps from start_day
-- Inputs:        none
-- Output:        table simulation.social_played in database app
-- Point in time: committed together with the day's rows
-- Parameters:    none
create table if not exists simulation.social_played (
    day date primary key
)
