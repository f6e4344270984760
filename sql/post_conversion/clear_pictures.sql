-- post_conversion clear pictures: refused once, embedded now
-- Grain:         one row per post_id and uri
-- Inputs:        the pictures
-- Output:        quarantine.post_picture without them
-- Point in time: as things stand now
-- Parameters:    post_ids bigint[], uris text[]
delete from quarantine.post_picture
using
    unnest(cast(:post_ids as bigint[]), cast(:uris as text[]))
        as given (post_id, uri)
where
    post_picture.post_id = given.post_id
    and md5(post_picture.uri) = md5(given.uri)
