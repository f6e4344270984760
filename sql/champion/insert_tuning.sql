-- champion insert_tuning
-- Grain:         one row per job and day
-- Inputs:        the values given
-- Output:        one row in ops.tuning; a day tuned already keeps its values
-- Point in time: runs of as_of and later use it
-- Parameters:    job text, as_of date, params jsonb as text, trials integer,
--                value double precision
insert into ops.tuning (job, as_of, params, trials, value)
values (
    :job,
    cast(:as_of as date),
    cast(:params as jsonb),
    cast(:trials as integer),
    cast(:value as double precision)
)
on conflict (job, as_of) do nothing
