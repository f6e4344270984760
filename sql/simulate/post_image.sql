-- simulated feed: the pictures of posts
-- Grain:         one row per post that has a picture
-- Inputs:        none
-- Output:        table post_image in database app
-- Point in time: appears and goes with its post; the file at uri, below the first folder of
--                NIGHTSHIFT_IMAGE_ROOTS, is there before its row and stays after it
-- Parameters:    none
create table if not exists post_image (
    post_id bigint primary key,
    uri text
)
