-- feature.post_life of posts that were extracted before anybody viewed them
-- Grain:         one row per post_id and known_from
-- Inputs:        raw.post_text_df, feature.post_life
-- Output:        a version from the first extraction until the first one that is there already
-- Point in time: known from the extraction; its 00:00 stands for when the post appeared
-- Parameters:    none
insert into feature.post_life (post_id, published_at, viewed, known_from, known_to)
select
    extracted.post_id,
    cast(extracted.first_day as timestamp) at time zone 'UTC' as published_at,
    false as viewed,
    extracted.first_day,
    coalesce(life.first_day, 'infinity') as known_to
from (
    select
        post_id,
        min(known_from) as first_day
    from raw.post_text_df
    group by post_id
) as extracted
left join (
    select
        post_id,
        min(known_from) as first_day
    from feature.post_life
    group by post_id
) as life on extracted.post_id = life.post_id
where life.first_day is null or extracted.first_day < life.first_day
