-- Demo summary: what the feed shows a user now
-- Grain:         one row per post, in the order shown
-- Inputs:        result.feed_at
-- Output:        rank, topic, reason_code, text (its beginning)
-- Point in time: now
-- Parameters:    user_id bigint
select
    position as rank,
    coalesce(topic, '-') as topic,
    reason_code,
    left(regexp_replace(text, '\s+', ' ', 'g'), 54) as text
from result.feed_at(cast(:user_id as bigint), now())
order by position
