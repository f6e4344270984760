-- simulated feed: the posts, as an owner keeps them: only their present state
-- Grain:         one row per post
-- Inputs:        none
-- Output:        table post_text_df in database app
-- Point in time: a row appears on the day of publication; it may change or go on later ones
-- Parameters:    none
create table if not exists post_text_df (
    id bigint primary key,
    text text,
    topic text
)
