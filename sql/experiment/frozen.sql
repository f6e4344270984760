-- experiment frozen
-- Grain:         at most one row
-- Inputs:        experiment.frozen
-- Output:        salt, arms, shares
-- Point in time: as the first run of the day found it
-- Parameters:    name text, as_of date
select
    frozen.salt,
    frozen.arms,
    frozen.shares
from experiment.frozen
where frozen.name = cast(:name as text) and frozen.as_of = cast(:as_of as date)
