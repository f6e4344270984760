-- post_conversion picture vectors: what an encoder made of the pictures known by a day
-- Grain:         one row per post_id and uri; ordered by both
-- Inputs:        raw.post_image, feature.post_image_embedding
-- Output:        post_id, uri, embedding
-- Point in time: pictures that as_of knew, those that a post has no longer among them: a dataset may
--                read posts as they were the morning after they were published
-- Parameters:    as_of date, encoder_version text
select
    embedded.post_id,
    embedded.uri,
    embedded.embedding
from feature.post_image_embedding as embedded
where
    embedded.encoder_version = cast(:encoder_version as text)
    and exists (
        select from raw.post_image as pictures
        where
            pictures.post_id = embedded.post_id
            and pictures.uri = embedded.uri
            and pictures.known_from <= cast(:as_of as date)
    )
order by embedded.post_id, embedded.uri
