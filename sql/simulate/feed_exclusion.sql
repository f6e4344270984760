-- simulated feed: the posts that users wrote themselves, which nobody wants to be shown
-- Grain:         one row per post that has an author
-- Inputs:        none
-- Output:        table feed_exclusion in database app
-- Point in time: appears and goes with its post
-- Parameters:    none
create table if not exists feed_exclusion (
    user_id bigint not null,
    post_id bigint not null,
    primary key (user_id, post_id)
)
