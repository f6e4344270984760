-- user_data, as its owner keeps it: the one place where the owner's names meet ours
-- Grain:         one row per user
-- Inputs:        app: user_data
-- Output:        the columns of raw.user_data up to source, event_day
-- Point in time: the source's present state, said to be that of the end of last_day: it keeps no
--                other. jobs/extract/versions.py tells what changed since the night before
-- Parameters:    last_day date
select
    id as user_id,
    age,
    city,
    country,
    exp_group,
    gender,
    os,
    source,
    cast(:last_day as date) as event_day
from user_data
