-- post_image, as its owner keeps it: the one place where the owner's names meet ours
-- Grain:         one row per post with a picture
-- Inputs:        app: post_image
-- Output:        the columns of raw.post_image up to uri, event_day
-- Point in time: the source's present state, said to be that of the end of last_day: it keeps no
--                other. jobs/extract/versions.py tells what changed since the night before
-- Parameters:    last_day date
select
    post_id,
    uri,
    cast(:last_day as date) as event_day
from post_image
