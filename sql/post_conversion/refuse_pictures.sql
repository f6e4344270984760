-- post_conversion refuse pictures: those that could not be embedded, and why
-- Grain:         one row per post_id and uri
-- Inputs:        the pictures and reasons; feature.post_image_embedding
-- Output:        quarantine.post_picture; a row with the same reason stays as it is, and what another
--                run could embed meanwhile gets none
-- Point in time: as_of is the run that refused them
-- Parameters:    as_of date, encoder_version text, post_ids bigint[], uris text[], reasons text[]
insert into quarantine.post_picture as standing (post_id, uri, reason, as_of)
select
    given.post_id,
    given.uri,
    given.reason,
    cast(:as_of as date)
from
    unnest(cast(:post_ids as bigint[]), cast(:uris as text[]), cast(:reasons as text[]))
        as given (post_id, uri, reason)
where
    not exists (
        select from feature.post_image_embedding as embedded
        where
            embedded.encoder_version = cast(:encoder_version as text)
            and embedded.post_id = given.post_id
            and md5(embedded.uri) = md5(given.uri)
    )
on conflict (post_id, md5(uri)) do update
    set
        reason = excluded.reason,
        as_of = excluded.as_of,
        quarantined_at = clock_timestamp()
    where standing.reason <> excluded.reason
