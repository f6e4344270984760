-- champion tuned
-- Grain:         at most one row
-- Inputs:        ops.tuning
-- Output:        as_of, params, trials, value: the newest tuned values
-- Point in time: tuned for as_of or before
-- Parameters:    job text, as_of date
select
    tuning.as_of,
    tuning.params,
    tuning.trials,
    tuning.value
from ops.tuning
where
    tuning.job = cast(:job as text)
    and tuning.as_of <= cast(:as_of as date)
order by tuning.as_of desc
limit 1
