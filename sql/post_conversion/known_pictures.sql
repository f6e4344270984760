-- post_conversion known pictures: how many an encoder has embedded already
-- Grain:         one row
-- Inputs:        raw.post_image, feature.post_image_embedding
-- Output:        known: posts whose picture as of as_of has a vector
-- Point in time: pictures as known on as_of; vectors of any night
-- Parameters:    as_of date, encoder_version text
select count(*) as known
from raw.post_image as pictures
where
    pictures.known_from <= cast(:as_of as date)
    and pictures.known_to > cast(:as_of as date)
    and exists (
        select from feature.post_image_embedding as embedded
        where
            embedded.encoder_version = cast(:encoder_version as text)
            and embedded.post_id = pictures.post_id
            and md5(embedded.uri) = md5(pictures.uri)
    )
