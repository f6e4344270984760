-- experiment user_day_clear
-- Grain:         one row per experiment and user
-- Inputs:        as_of
-- Output:        the day's rows in experiment.user_day, gone
-- Point in time: a run writes its day anew
-- Parameters:    as_of date
delete from experiment.user_day
where user_day.as_of = cast(:as_of as date)
