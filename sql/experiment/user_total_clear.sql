-- experiment user_total_clear
-- Grain:         snapshots
-- Inputs:        as_of
-- Output:        experiment.user_total without the snapshot of as_of, those too old to be built on
--                and, where days up to as_of changed, those after it
-- Point in time: none
-- Parameters:    as_of date, keep_days integer, changed boolean
delete from experiment.user_total
where
    user_total.as_of = cast(:as_of as date)
    or user_total.as_of < cast(:as_of as date) - cast(:keep_days as integer)
    or (cast(:changed as boolean) and user_total.as_of > cast(:as_of as date))
