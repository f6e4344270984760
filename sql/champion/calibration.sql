-- champion calibration: the map that a version serves with on a day
-- Grain:         at most one row
-- Inputs:        ops.calibration
-- Output:        slope, intercept
-- Point in time: the map was fitted on labels complete by as_of
-- Parameters:    model_version text, as_of date
select
    slope,
    intercept
from ops.calibration
where
    model_version = cast(:model_version as text)
    and as_of = cast(:as_of as date)
