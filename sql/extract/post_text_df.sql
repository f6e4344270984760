-- post_text_df, as its owner keeps it: the one place where the owner's names meet ours
-- Grain:         one row per post
-- Inputs:        app: post_text_df
-- Output:        the columns of raw.post_text_df up to topic, event_day
-- Point in time: the source's present state, said to be that of the end of last_day: it keeps no
--                other. jobs/extract/versions.py tells what changed since the night before
-- Parameters:    last_day date
select
    id as post_id,
    text,
    topic,
    cast(:last_day as date) as event_day
from post_text_df
