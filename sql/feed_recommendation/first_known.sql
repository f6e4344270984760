-- feed_recommendation first known: since when the platform knows any users
-- Grain:         one row
-- Inputs:        raw.user_data
-- Output:        first_known (an as_of); null where there are no users
-- Point in time: users known by as_of
-- Parameters:    as_of date
select min(known_from) as first_known
from raw.user_data
where known_from <= cast(:as_of as date)
