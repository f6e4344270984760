-- Demo summary: what the feed shows a user now
-- Grain:         one row per post, in the order shown
-- Inputs:        result.feed_at
-- Output:        rank, topic, reason_code, text (its beginning); list, as_of and day_part
-- Point in time: now
-- Parameters:    user_id bigint
select
    position as rank,
    coalesce(topic, '-') as topic,
    reason_code,
    left(regexp_replace(text, '\s+', ' ', 'g'), 60) as text,
    list,
    as_of,
    day_part
from result.feed_at(cast(:user_id as bigint), now())
order by position
