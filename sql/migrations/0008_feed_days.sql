-- What analysts read of the feed: by day and topic, by day and hour.

create view bi.feed_topic_day as
with days as (
    select
        event_day,
        topic,
        -- A user has one standing row for each day and topic.
        count(*) as users,
        sum(views) as views,
        sum(likes) as likes,
        sum(shares) as shares,
        sum(comments) as comments,
        sum(hides) as hides
    from feature.user_topic_day
    where known_to = 'infinity'
    group by
        event_day,
        topic
),

-- Asked of the small table, apart from the days: so a question for a few days reads those alone.
ever as (
    select
        max(shares) > 0 as shares,
        max(comments) > 0 as comments,
        max(hides) > 0 as hides
    from feature.post_day
    where known_to = 'infinity'
)

select
    days.event_day,
    days.topic,
    days.users,
    days.views,
    days.likes,
    case when ever.shares then days.shares end as shares,
    case when ever.comments then days.comments end as comments,
    case when ever.hides then days.hides end as hides,
    cast(days.likes as double precision) / nullif(days.views, 0) as like_rate
from days
cross join ever;
comment on view bi.feed_topic_day is 'The feed by day and topic, as known now; an action that the source never has is null, not 0';
comment on column bi.feed_topic_day.event_day is 'UTC day of the events';
comment on column bi.feed_topic_day.topic is 'Topic of the posts as known when the day was counted; unknown where they have none';
comment on column bi.feed_topic_day.users is 'Different users who viewed a post of the topic, liked it or did anything else with it';
comment on column bi.feed_topic_day.views is 'Views';
comment on column bi.feed_topic_day.likes is 'Likes';
comment on column bi.feed_topic_day.shares is 'Shares; null where the source has none on any day';
comment on column bi.feed_topic_day.comments is 'Comments; null where the source has none on any day';
comment on column bi.feed_topic_day.hides is 'Times a post was hidden; null where the source has none on any day';
comment on column bi.feed_topic_day.like_rate is 'Likes / views; null without a view';

create view bi.feed_hour_day as
select
    event_day,
    hour,
    -- A user has one standing row for each day and hour.
    count(*) as users,
    sum(views) as views,
    sum(likes) as likes,
    cast(sum(likes) as double precision) / nullif(sum(views), 0) as like_rate
from feature.user_hour_day
where known_to = 'infinity'
group by
    event_day,
    hour;
comment on view bi.feed_hour_day is 'The feed by day and hour, as known now; an hour without a view or like has no row';
comment on column bi.feed_hour_day.event_day is 'UTC day of the events';
comment on column bi.feed_hour_day.hour is 'UTC hour, 0 to 23';
comment on column bi.feed_hour_day.users is 'Different users who viewed or liked a post';
comment on column bi.feed_hour_day.views is 'Views';
comment on column bi.feed_hour_day.likes is 'Likes; a like counts in its own hour, which may be after its view''s';
comment on column bi.feed_hour_day.like_rate is 'Likes / views; null without a view';
