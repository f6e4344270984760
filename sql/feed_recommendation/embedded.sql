-- feed_recommendation embedded: vectors of texts that an encoder made before
-- Grain:         one row per post_id and text_md5
-- Inputs:        feature.post_embedding
-- Output:        post_id, text_md5, embedding
-- Point in time: a vector depends on encoder and text only
-- Parameters:    encoder_version text
select
    post_id,
    text_md5,
    embedding
from feature.post_embedding
where encoder_version = cast(:encoder_version as text)
