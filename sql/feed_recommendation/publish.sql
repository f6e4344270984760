-- feed_recommendation publish: the staged lists, as the result table has them
-- Grain:         one row per user_id and day_part
-- Inputs:        staged (all parts of the day)
-- Output:        the columns of result.feed_recommendation
-- Point in time: as staged
-- Parameters:    as_of date
select
    cast(:as_of as date) as as_of,
    user_id,
    day_part,
    arm,
    model_version,
    post_ids,
    scores,
    sources
from staged
