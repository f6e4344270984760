-- Demo: the lists that simulated users see, as far down as they scroll
-- Grain:         one row per user_id and day_part, in that order
-- Inputs:        result.feed_recommendation
-- Output:        user_id, day_part, arm, model_version, post_ids, sources (the first 30)
-- Point in time: the lists published for as_of
-- Parameters:    as_of date
select
    user_id,
    day_part,
    arm,
    model_version,
    post_ids[1:30] as post_ids,
    sources[1:30] as sources
from result.feed_recommendation
where as_of = cast(:as_of as date) and cardinality(post_ids) > 0
order by
    user_id,
    day_part
