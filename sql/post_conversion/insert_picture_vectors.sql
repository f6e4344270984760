-- post_conversion insert picture vectors: what an encoder made of new pictures
-- Grain:         one row per post_id and uri
-- Inputs:        the vectors, as texts of arrays
-- Output:        feature.post_image_embedding; what is there already stays
-- Point in time: known from as_of, the run that embedded them
-- Parameters:    encoder_version text, as_of date, post_ids bigint[], uris text[], vectors text[]
insert into feature.post_image_embedding (encoder_version, post_id, uri, embedding, known_from)
select
    cast(:encoder_version as text),
    given.post_id,
    given.uri,
    cast(given.vector as real[]),
    cast(:as_of as date)
from
    unnest(cast(:post_ids as bigint[]), cast(:uris as text[]), cast(:vectors as text[]))
        as given (post_id, uri, vector)
on conflict do nothing
