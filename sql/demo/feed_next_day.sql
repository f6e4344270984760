-- Demo: the first day that the simulated feed has not seen
-- Grain:         one row
-- Inputs:        simulation.social_world, simulation.social_played, in database app
-- Output:        day
-- Point in time: none, it describes what is there
-- Parameters:    none
select coalesce(max(played.day) + 1, min(world.start_day)) as day
from simulation.social_world as world
left join simulation.social_played as played on true
