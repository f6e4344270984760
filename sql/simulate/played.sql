-- which simulated days the source has seen
-- Grain:         one row per day on which rows arrived, without gaps from start_day
-- Inputs:        none
-- Output:        table simulation.played in database app
-- Point in time: committed together with the day's rows
-- Parameters:    none
create table if not exists simulation.played (
    day date primary key
)
