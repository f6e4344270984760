-- feed_recommendation insert embeddings: vectors that an encoder made of new texts
-- Grain:         one row per post_id and text_md5
-- Inputs:        the vectors, as JSON
-- Output:        feature.post_embedding; what is there already stays
-- Point in time: a vector depends on encoder and text only
-- Parameters:    encoder_version text, vectors text (post_id, text_md5, vector of each)
insert into feature.post_embedding (encoder_version, post_id, text_md5, embedding)
select
    cast(:encoder_version as text),
    given.post_id,
    given.text_md5,
    array(select cast(jsonb_array_elements_text(given.vector) as real))
from
    jsonb_to_recordset(cast(:vectors as jsonb))
        as given (post_id bigint, text_md5 text, vector jsonb)
on conflict do nothing
