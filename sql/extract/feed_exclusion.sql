-- feed_exclusion, as its owner keeps it: the one place where the owner's names meet ours
-- Grain:         one row per user and post that the user must not be shown
-- Inputs:        app: feed_exclusion; an owner may not have it (jobs/extract/tables.py: optional)
-- Output:        user_id, post_id, event_day
-- Point in time: the source's present state, said to be that of the end of last_day: it keeps no
--                other. jobs/extract/versions.py tells what changed since the night before
-- Parameters:    last_day date
select
    user_id,
    post_id,
    cast(:last_day as date) as event_day
from feed_exclusion
