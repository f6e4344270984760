-- post_conversion refuse pictures: those that could not be embedded, and why
-- Grain:         one row per post_id and uri
-- Inputs:        the pictures and reasons
-- Output:        quarantine.post_picture; a row with the same reason stays as it is
-- Point in time: as_of is the run that refused them
-- Parameters:    as_of date, post_ids bigint[], uris text[], reasons text[]
insert into quarantine.post_picture as standing (post_id, uri, reason, as_of)
select
    given.post_id,
    given.uri,
    given.reason,
    cast(:as_of as date)
from
    unnest(cast(:post_ids as bigint[]), cast(:uris as text[]), cast(:reasons as text[]))
        as given (post_id, uri, reason)
on conflict (post_id, md5(uri)) do update
    set
        reason = excluded.reason,
        as_of = excluded.as_of,
        quarantined_at = clock_timestamp()
    where standing.reason <> excluded.reason
