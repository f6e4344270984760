-- experiment user_day_checksum
-- Grain:         one row
-- Inputs:        experiment.user_day
-- Output:        rows, checksum: equal where the day's rows are
-- Point in time: the day as counted last
-- Parameters:    as_of date
select
    count(*) as rows,
    cast(sum(hash_record_extended(user_day, 0)) as text) as checksum
from experiment.user_day
where user_day.as_of = cast(:as_of as date)
