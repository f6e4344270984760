-- champion insert_calibration: keep the map that a version serves with on a day
-- Grain:         one row per version and day; the first one stands
-- Inputs:        the caller's fit
-- Output:        ops.calibration
-- Point in time: fitted on features at cutoff, whose labels are complete by as_of
-- Parameters:    model_version text, as_of date, cutoff date, rows bigint, slope, intercept
insert into ops.calibration (model_version, as_of, cutoff, rows, slope, intercept)
values (
    cast(:model_version as text),
    cast(:as_of as date),
    cast(:cutoff as date),
    cast(:rows as bigint),
    cast(:slope as double precision),
    cast(:intercept as double precision)
)
on conflict (model_version, as_of) do nothing
