-- simulated feed: posts are edited
-- Grain:         one row per post that changes
-- Inputs:        the arrays, one element per post
-- Output:        post_text_df with the new text
-- Point in time: the old text was there until the day before
-- Parameters:    posts bigint[], texts text[]
update post_text_df
set text = changed.text
from
    (
        select
            unnest(cast(:posts as bigint[])) as id,
            unnest(cast(:texts as text[])) as text
    ) as changed
where post_text_df.id = changed.id
