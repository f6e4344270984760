-- feed_api arm
-- Grain:         at most one row
-- Inputs:        result.feed_arm
-- Output:        as_of (the day that serves), arm; no row where no day is published
-- Point in time: the day published for the moment
-- Parameters:    user_id bigint, at timestamptz
select
    feed.as_of,
    feed.arm
from result.feed_arm(:user_id, :at) as feed
