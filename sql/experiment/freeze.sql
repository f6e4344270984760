-- experiment freeze
-- Grain:         at most one row
-- Inputs:        experiment.experiment
-- Output:        the day's row in experiment.frozen, unless an earlier run of that day wrote it
-- Point in time: the experiment as it stands when the day is first run; later changes leave the
--                day alone
-- Parameters:    name text, as_of date
insert into experiment.frozen (as_of, name, salt, arms, shares)
select
    cast(:as_of as date) as as_of,
    experiment.name,
    experiment.salt,
    experiment.arms,
    experiment.shares
from experiment.experiment
where
    experiment.name = cast(:name as text)
    and experiment.starts_on <= cast(:as_of as date)
    and coalesce(experiment.ends_on, 'infinity') >= cast(:as_of as date)
on conflict (as_of, name) do nothing
