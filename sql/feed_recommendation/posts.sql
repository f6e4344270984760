-- feed_recommendation posts, as they were
-- Grain:         one row per post that was there on as_of; ordered by post_id
-- Inputs:        raw.post_text_df, feature.post_life, feature.post_day
-- Output:        post_id, text, topic, text_md5, age_days (since published_at), and views, likes,
--                shares, comments, hides in the last 1, 7, 30 days and ever
-- Point in time: what happened before as_of and was known by then
-- Parameters:    as_of date
with counted as (
    select
        post_id,
        sum(views) filter (where event_day >= cast(:as_of as date) - 1) as views_1d,
        sum(likes) filter (where event_day >= cast(:as_of as date) - 1) as likes_1d,
        sum(views) filter (where event_day >= cast(:as_of as date) - 7) as views_7d,
        sum(likes) filter (where event_day >= cast(:as_of as date) - 7) as likes_7d,
        sum(views) filter (where event_day >= cast(:as_of as date) - 30) as views_30d,
        sum(likes) filter (where event_day >= cast(:as_of as date) - 30) as likes_30d,
        sum(views) as views_all,
        sum(likes) as likes_all,
        sum(shares) as shares_all,
        sum(comments) as comments_all,
        sum(hides) as hides_all
    from feature.post_day
    where
        event_day < cast(:as_of as date)
        and known_from <= cast(:as_of as date)
        and known_to > cast(:as_of as date)
    group by post_id
)

select
    posts.post_id,
    coalesce(posts.text, '') as text,
    coalesce(posts.topic, 'unknown') as topic,
    md5(coalesce(posts.text, '')) as text_md5,
    cast(
        extract(
            epoch from cast(cast(:as_of as date) as timestamptz)
            - coalesce(life.published_at, posts.known_from - 1)
        ) / 86400 as real
    ) as age_days,
    cast(coalesce(counted.views_1d, 0) as bigint) as views_1d,
    cast(coalesce(counted.likes_1d, 0) as bigint) as likes_1d,
    cast(coalesce(counted.views_7d, 0) as bigint) as views_7d,
    cast(coalesce(counted.likes_7d, 0) as bigint) as likes_7d,
    cast(coalesce(counted.views_30d, 0) as bigint) as views_30d,
    cast(coalesce(counted.likes_30d, 0) as bigint) as likes_30d,
    cast(coalesce(counted.views_all, 0) as bigint) as views_all,
    cast(coalesce(counted.likes_all, 0) as bigint) as likes_all,
    cast(coalesce(counted.shares_all, 0) as bigint) as shares_all,
    cast(coalesce(counted.comments_all, 0) as bigint) as comments_all,
    cast(coalesce(counted.hides_all, 0) as bigint) as hides_all
from raw.post_text_df as posts
left join feature.post_life as life
    on
        posts.post_id = life.post_id
        and life.known_from <= cast(:as_of as date)
        and life.known_to > cast(:as_of as date)
left join counted on posts.post_id = counted.post_id
where
    posts.known_from <= cast(:as_of as date)
    and posts.known_to > cast(:as_of as date)
order by posts.post_id
