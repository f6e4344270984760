-- post_conversion dataset: posts, what is known of them, and what came of their views
-- Grain:         one row per post published on first_day or later; ordered by post_id
-- Inputs:        feature.post_life, raw.post_text_df, raw.post_image, feature.post_day
-- Output:        post_id, published_at, published_day, text, text_md5, topic, uri (null: no picture), mature
--                (its window is over); views, likes, shares, comments, hides of the window; the
--                same so far (_all); and of the window as each day was known the morning after
--                (_on_time), which says what a topic was worth without looking ahead
-- Point in time: views before as_of and known by then. Text, topic and picture as known on as_of;
--                with at_publication as known the morning after publishing, which is when a post is
--                first scored: an edit within the window is then not seen
-- Parameters:    as_of date, first_day date, window_days integer, at_publication boolean
with lives as (
    select
        post_id,
        published_at,
        cast(published_at at time zone 'UTC' as date) as published_day
    from feature.post_life
    where
        known_from <= cast(:as_of as date)
        and known_to > cast(:as_of as date)
        and published_at >= cast(cast(:first_day as date) as timestamp) at time zone 'UTC'
        and published_at < cast(cast(:as_of as date) as timestamp) at time zone 'UTC'
),

known as (
    select
        post_id,
        min(known_from) as first_known
    from raw.post_text_df
    group by post_id
),

asked as (
    select
        lives.post_id,
        lives.published_at,
        lives.published_day,
        case
            when cast(:at_publication as boolean)
                then least(cast(:as_of as date), greatest(lives.published_day + 1, known.first_known))
            else cast(:as_of as date)
        end as read_on
    from lives
    inner join known on lives.post_id = known.post_id
),

days as (
    select
        asked.post_id,
        day.views,
        day.likes,
        day.shares,
        day.comments,
        day.hides,
        day.known_to > cast(:as_of as date) as stands,
        day.known_from = day.event_day + 1 as on_time,
        day.event_day >= asked.published_day
        and day.event_day < asked.published_day + cast(:window_days as integer) as inside
    from asked
    inner join feature.post_day as day on asked.post_id = day.post_id
    where
        day.event_day < cast(:as_of as date)
        and day.known_from <= cast(:as_of as date)
        and (day.known_to > cast(:as_of as date) or day.known_from = day.event_day + 1)
),

counted as (
    select
        post_id,
        sum(views) filter (where stands and inside) as views,
        sum(likes) filter (where stands and inside) as likes,
        sum(shares) filter (where stands and inside) as shares,
        sum(comments) filter (where stands and inside) as comments,
        sum(hides) filter (where stands and inside) as hides,
        sum(views) filter (where stands) as views_all,
        sum(likes) filter (where stands) as likes_all,
        sum(shares) filter (where stands) as shares_all,
        sum(comments) filter (where stands) as comments_all,
        sum(hides) filter (where stands) as hides_all,
        sum(views) filter (where on_time and inside) as views_on_time,
        sum(likes) filter (where on_time and inside) as likes_on_time,
        sum(shares) filter (where on_time and inside) as shares_on_time,
        sum(comments) filter (where on_time and inside) as comments_on_time,
        sum(hides) filter (where on_time and inside) as hides_on_time
    from days
    group by post_id
)

select
    asked.post_id,
    asked.published_at,
    asked.published_day,
    coalesce(posts.text, '') as text,
    md5(coalesce(posts.text, '')) as text_md5,
    coalesce(posts.topic, 'unknown') as topic,
    pictures.uri,
    asked.published_day + cast(:window_days as integer) <= cast(:as_of as date) as mature,
    cast(coalesce(counted.views, 0) as bigint) as views,
    cast(coalesce(counted.likes, 0) as bigint) as likes,
    cast(coalesce(counted.shares, 0) as bigint) as shares,
    cast(coalesce(counted.comments, 0) as bigint) as comments,
    cast(coalesce(counted.hides, 0) as bigint) as hides,
    cast(coalesce(counted.views_all, 0) as bigint) as views_all,
    cast(coalesce(counted.likes_all, 0) as bigint) as likes_all,
    cast(coalesce(counted.shares_all, 0) as bigint) as shares_all,
    cast(coalesce(counted.comments_all, 0) as bigint) as comments_all,
    cast(coalesce(counted.hides_all, 0) as bigint) as hides_all,
    cast(coalesce(counted.views_on_time, 0) as bigint) as views_on_time,
    cast(coalesce(counted.likes_on_time, 0) as bigint) as likes_on_time,
    cast(coalesce(counted.shares_on_time, 0) as bigint) as shares_on_time,
    cast(coalesce(counted.comments_on_time, 0) as bigint) as comments_on_time,
    cast(coalesce(counted.hides_on_time, 0) as bigint) as hides_on_time
from asked
inner join raw.post_text_df as posts
    on
        asked.post_id = posts.post_id
        and asked.read_on >= posts.known_from
        and asked.read_on < posts.known_to
left join raw.post_image as pictures
    on
        asked.post_id = pictures.post_id
        and asked.read_on >= pictures.known_from
        and asked.read_on < pictures.known_to
left join counted on asked.post_id = counted.post_id
order by asked.post_id
