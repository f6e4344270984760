-- post_conversion new pictures: those that an encoder has still to embed
-- Grain:         one row per post with a picture as of as_of, in order of post_id, block_rows at most
-- Inputs:        raw.post_image, feature.post_image_embedding, quarantine.post_picture
-- Output:        post_id, uri
-- Point in time: pictures as known on as_of. A vector depends on encoder and picture only, so one
--                that another night made will do; what was refused stays so, but for a reason that
--                may have passed
-- Parameters:    as_of date, encoder_version text, may_pass text[] (reasons), after bigint (post_id),
--                block_rows integer
select
    pictures.post_id,
    pictures.uri
from raw.post_image as pictures
where
    pictures.known_from <= cast(:as_of as date)
    and pictures.known_to > cast(:as_of as date)
    and pictures.uri <> ''
    and pictures.post_id > cast(:after as bigint)
    and not exists (
        select from feature.post_image_embedding as embedded
        where
            embedded.encoder_version = cast(:encoder_version as text)
            and embedded.post_id = pictures.post_id
            and embedded.post_id > cast(:after as bigint)
            and md5(embedded.uri) = md5(pictures.uri)
    )
    and not exists (
        select from quarantine.post_picture as refused
        where
            refused.post_id = pictures.post_id
            and refused.post_id > cast(:after as bigint)
            and md5(refused.uri) = md5(pictures.uri)
            and refused.reason <> all(cast(:may_pass as text[]))
    )
order by pictures.post_id
limit cast(:block_rows as integer)
