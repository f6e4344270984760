-- feed_recommendation popular: lists for users who have none of their own
-- Grain:         one row per as_of, segment and day_part
-- Inputs:        the lists, as JSON
-- Output:        result.feed_popular
-- Point in time: as given
-- Parameters:    as_of date, lists text (segment -> post_ids, scores, sources)
insert into result.feed_popular (
    as_of, segment, day_part, model_version, post_ids, scores, sources
)
select
    cast(:as_of as date),
    given.segment,
    0,
    'popular_7d',
    array(select cast(jsonb_array_elements_text(given.list -> 'post_ids') as bigint)),
    array(select cast(jsonb_array_elements_text(given.list -> 'scores') as real)),
    array(select cast(jsonb_array_elements_text(given.list -> 'sources') as smallint))
from jsonb_each(cast(:lists as jsonb)) as given (segment, list)
on conflict (as_of, segment, day_part) do update
    set
        model_version = excluded.model_version,
        post_ids = excluded.post_ids,
        scores = excluded.scores,
        sources = excluded.sources
