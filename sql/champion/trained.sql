-- champion trained
-- Grain:         one row per trained version (kind model) of a job and day
-- Inputs:        ops.model_version
-- Output:        model_version
-- Point in time: versions trained for exactly this as_of
-- Parameters:    job text, as_of date
select model_version.model_version
from ops.model_version
where
    model_version.job = cast(:job as text)
    and model_version.as_of = cast(:as_of as date)
    and model_version.kind = 'model'
order by model_version.model_version
