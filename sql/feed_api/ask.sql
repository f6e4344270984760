-- feed_api ask
-- Grain:         one row per post, at most max_posts
-- Inputs:        result.feed_at
-- Output:        what the answer and the impression need
-- Point in time: the day published for the moment
-- Parameters:    user_id bigint, at timestamptz, max_posts integer, exclude bigint[]
select
    feed.post_id,
    feed.text,
    feed.topic,
    feed.source,
    feed.list,
    feed.as_of,
    feed.day_part,
    feed.experiment,
    feed.arm,
    feed.model_version
from result.feed_at(:user_id, :at, :max_posts, :exclude) as feed
