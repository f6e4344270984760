-- The feed: users and posts by version, events by day, quarantine and daily aggregates.

-- Users, posts and pictures: the source has only its present state, so each night closes the
-- versions that changed or went and adds the new ones. As of D: known_from <= D and known_to > D.

create table raw.user_data (
    user_id bigint not null,
    age integer,
    city text,
    country text,
    exp_group integer,
    gender integer,
    os text,
    source text,
    known_from date not null,
    known_to date not null default 'infinity',
    primary key (user_id, known_from)
);
comment on table raw.user_data is 'Users by version: what was known of each as of a day';
comment on column raw.user_data.user_id is 'User (the owner''s id)';
comment on column raw.user_data.age is 'Age in years';
comment on column raw.user_data.city is 'City';
comment on column raw.user_data.country is 'Country';
comment on column raw.user_data.exp_group is 'The owner''s own category; not an arm of our experiments';
comment on column raw.user_data.gender is 'Gender, in the owner''s code';
comment on column raw.user_data.os is 'Operating system';
comment on column raw.user_data.source is 'Where the user came from, for example ads or organic';
comment on column raw.user_data.known_from is 'First as_of that this version describes';
comment on column raw.user_data.known_to is 'as_of from which another version does, or none where the source lost the row; infinity while this one does';

create table quarantine.user_data (
    user_id bigint,
    age integer,
    city text,
    country text,
    exp_group integer,
    gender integer,
    os text,
    source text,
    copies integer not null,
    event_day date,
    as_of date not null,
    known_to date not null default 'infinity',
    reasons text[] not null,
    quarantined_at timestamptz not null default clock_timestamp()
);
comment on table quarantine.user_data is 'Rows of user_data that a check refused';
comment on column quarantine.user_data.user_id is 'User (the owner''s id)';
comment on column quarantine.user_data.age is 'Age in years';
comment on column quarantine.user_data.city is 'City';
comment on column quarantine.user_data.country is 'Country';
comment on column quarantine.user_data.exp_group is 'The owner''s own category; not an arm of our experiments';
comment on column quarantine.user_data.gender is 'Gender, in the owner''s code';
comment on column quarantine.user_data.os is 'Operating system';
comment on column quarantine.user_data.source is 'Where the user came from, for example ads or organic';
comment on column quarantine.user_data.copies is 'Times the source holds this very row; exact duplicates are one row here';
comment on column quarantine.user_data.event_day is 'UTC day at whose end the source was so';
comment on column quarantine.user_data.as_of is 'Extraction that refused it';
comment on column quarantine.user_data.known_to is 'as_of from which the source no longer had it; infinity while it stands';
comment on column quarantine.user_data.reasons is 'Rules it broke';
comment on column quarantine.user_data.quarantined_at is 'When';

create table raw.post_text_df (
    post_id bigint not null,
    text text,
    topic text,
    known_from date not null,
    known_to date not null default 'infinity',
    primary key (post_id, known_from)
);
comment on table raw.post_text_df is 'Posts by version: text and topic as known as of a day';
comment on column raw.post_text_df.post_id is 'Post (the owner''s id)';
comment on column raw.post_text_df.text is 'Text; may be empty, of any length and language';
comment on column raw.post_text_df.topic is 'Topic';
comment on column raw.post_text_df.known_from is 'First as_of that this version describes';
comment on column raw.post_text_df.known_to is 'as_of from which another version does, or none where the source lost the row; infinity while this one does';

create table quarantine.post_text_df (
    post_id bigint,
    text text,
    topic text,
    copies integer not null,
    event_day date,
    as_of date not null,
    known_to date not null default 'infinity',
    reasons text[] not null,
    quarantined_at timestamptz not null default clock_timestamp()
);
comment on table quarantine.post_text_df is 'Rows of post_text_df that a check refused';
comment on column quarantine.post_text_df.post_id is 'Post (the owner''s id)';
comment on column quarantine.post_text_df.text is 'Text; may be empty, of any length and language';
comment on column quarantine.post_text_df.topic is 'Topic';
comment on column quarantine.post_text_df.copies is 'Times the source holds this very row; exact duplicates are one row here';
comment on column quarantine.post_text_df.event_day is 'UTC day at whose end the source was so';
comment on column quarantine.post_text_df.as_of is 'Extraction that refused it';
comment on column quarantine.post_text_df.known_to is 'as_of from which the source no longer had it; infinity while it stands';
comment on column quarantine.post_text_df.reasons is 'Rules it broke';
comment on column quarantine.post_text_df.quarantined_at is 'When';

create table raw.post_image (
    post_id bigint not null,
    uri text,
    known_from date not null,
    known_to date not null default 'infinity',
    primary key (post_id, known_from)
);
comment on table raw.post_image is 'Pictures of posts by version: as known as of a day';
comment on column raw.post_image.post_id is 'Post';
comment on column raw.post_image.uri is 'Where its picture is; null where it has none';
comment on column raw.post_image.known_from is 'First as_of that this version describes';
comment on column raw.post_image.known_to is 'as_of from which another version does, or none where the source lost the row; infinity while this one does';

create table quarantine.post_image (
    post_id bigint,
    uri text,
    copies integer not null,
    event_day date,
    as_of date not null,
    known_to date not null default 'infinity',
    reasons text[] not null,
    quarantined_at timestamptz not null default clock_timestamp()
);
comment on table quarantine.post_image is 'Rows of post_image that a check refused';
comment on column quarantine.post_image.post_id is 'Post';
comment on column quarantine.post_image.uri is 'Where its picture is; null where it has none';
comment on column quarantine.post_image.copies is 'Times the source holds this very row; exact duplicates are one row here';
comment on column quarantine.post_image.event_day is 'UTC day at whose end the source was so';
comment on column quarantine.post_image.as_of is 'Extraction that refused it';
comment on column quarantine.post_image.known_to is 'as_of from which the source no longer had it; infinity while it stands';
comment on column quarantine.post_image.reasons is 'Rules it broke';
comment on column quarantine.post_image.quarantined_at is 'When';

-- Events of the feed: what the source said, by event day, with when we learned it.

create table raw.feed_data (
    timestamp timestamptz,
    user_id bigint not null,
    post_id bigint,
    action text,
    target smallint,
    copies integer not null,
    event_day date not null,
    known_from date not null,
    known_to date not null default 'infinity'
) partition by range (event_day);
comment on table raw.feed_data is 'What users did in the feed, one row per event';
comment on column raw.feed_data.timestamp is 'Time of the event';
comment on column raw.feed_data.user_id is 'User';
comment on column raw.feed_data.post_id is 'Post';
comment on column raw.feed_data.action is 'view, like, share, comment or hide';
comment on column raw.feed_data.target is '1 on a view that was liked soon after, 0 on any other view; null on the other actions';
comment on column raw.feed_data.copies is 'Times the source holds this very row; exact duplicates are one row here';
comment on column raw.feed_data.event_day is 'UTC day of the event; the partition';
comment on column raw.feed_data.known_from is 'as_of of the extraction that first saw the row';
comment on column raw.feed_data.known_to is 'as_of from which the source no longer had it; infinity while it stands';

create table quarantine.feed_data (
    timestamp timestamptz,
    user_id bigint,
    post_id bigint,
    action text,
    target smallint,
    copies integer not null,
    event_day date,
    as_of date not null,
    known_to date not null default 'infinity',
    reasons text[] not null,
    quarantined_at timestamptz not null default clock_timestamp()
);
comment on table quarantine.feed_data is 'Rows of raw.feed_data that a check refused';
comment on column quarantine.feed_data.timestamp is 'Time of the event';
comment on column quarantine.feed_data.user_id is 'User';
comment on column quarantine.feed_data.post_id is 'Post';
comment on column quarantine.feed_data.action is 'view, like, share, comment or hide';
comment on column quarantine.feed_data.target is '1 on a view that was liked soon after, 0 on any other view; null on the other actions';
comment on column quarantine.feed_data.copies is 'Times the source holds this very row; exact duplicates are one row here';
comment on column quarantine.feed_data.event_day is 'UTC day of the event; null where the row has no time';
comment on column quarantine.feed_data.as_of is 'Extraction that refused it';
comment on column quarantine.feed_data.known_to is 'as_of from which the source no longer had it; infinity while it stands';
comment on column quarantine.feed_data.reasons is 'Rules it broke';
comment on column quarantine.feed_data.quarantined_at is 'When';

-- Features: rows by day, versioned by when they were known. On-time rows are known from the day
-- after their event; a late or corrected row closes the version and opens another.

create table feature.user_topic_day (
    user_id bigint not null,
    event_day date not null,
    topic text not null,
    known_from date not null,
    known_to date not null default 'infinity',
    views integer not null,
    likes integer not null,
    shares integer not null,
    comments integer not null,
    hides integer not null
);
create index user_topic_day_by_day on feature.user_topic_day using brin (event_day, known_from) with (pages_per_range = 16);
create index user_topic_day_closed on feature.user_topic_day (known_to) where known_to < 'infinity';
comment on table feature.user_topic_day is 'Feed events by user, day and topic; holds for as_of D when event_day < D and known_from <= D < known_to';
comment on column feature.user_topic_day.user_id is 'User';
comment on column feature.user_topic_day.event_day is 'UTC day of the events';
comment on column feature.user_topic_day.topic is 'Topic of the posts as known then; unknown where they have none';
comment on column feature.user_topic_day.known_from is 'as_of from which this version of the day is known';
comment on column feature.user_topic_day.known_to is 'as_of from which a later version holds; infinity while this one does';
comment on column feature.user_topic_day.views is 'Views';
comment on column feature.user_topic_day.likes is 'Likes';
comment on column feature.user_topic_day.shares is 'Shares; 0 also where the source has no such action';
comment on column feature.user_topic_day.comments is 'Comments; 0 also where the source has no such action';
comment on column feature.user_topic_day.hides is 'Times hidden; 0 also where the source has no such action';

create table feature.post_day (
    post_id bigint not null,
    event_day date not null,
    known_from date not null,
    known_to date not null default 'infinity',
    views integer not null,
    likes integer not null,
    shares integer not null,
    comments integer not null,
    hides integer not null,
    viewers integer not null,
    first_view_at timestamptz
);
create index post_day_by_post on feature.post_day (post_id);
create index post_day_by_day on feature.post_day using brin (event_day, known_from) with (pages_per_range = 16);
create index post_day_closed on feature.post_day (known_to) where known_to < 'infinity';
comment on table feature.post_day is 'Feed events by post and day; versions as in user_topic_day';
comment on column feature.post_day.post_id is 'Post';
comment on column feature.post_day.event_day is 'UTC day of the events';
comment on column feature.post_day.known_from is 'as_of from which this version of the day is known';
comment on column feature.post_day.known_to is 'as_of from which a later version holds; infinity while this one does';
comment on column feature.post_day.views is 'Views';
comment on column feature.post_day.likes is 'Likes';
comment on column feature.post_day.shares is 'Shares; 0 also where the source has no such action';
comment on column feature.post_day.comments is 'Comments; 0 also where the source has no such action';
comment on column feature.post_day.hides is 'Times hidden; 0 also where the source has no such action';
comment on column feature.post_day.viewers is 'Different users who viewed it';
comment on column feature.post_day.first_view_at is 'Time of the day''s first view; null without one';

create table feature.user_hour_day (
    user_id bigint not null,
    event_day date not null,
    hour smallint not null,
    known_from date not null,
    known_to date not null default 'infinity',
    views integer not null,
    likes integer not null
);
create index user_hour_day_by_day on feature.user_hour_day using brin (event_day, known_from) with (pages_per_range = 16);
create index user_hour_day_closed on feature.user_hour_day (known_to) where known_to < 'infinity';
comment on table feature.user_hour_day is 'Views and likes by user, day and hour; versions as in user_topic_day. Hours with neither have no row';
comment on column feature.user_hour_day.user_id is 'User';
comment on column feature.user_hour_day.event_day is 'UTC day of the events';
comment on column feature.user_hour_day.hour is 'UTC hour, 0 to 23';
comment on column feature.user_hour_day.known_from is 'as_of from which this version of the day is known';
comment on column feature.user_hour_day.known_to is 'as_of from which a later version holds; infinity while this one does';
comment on column feature.user_hour_day.views is 'Views';
comment on column feature.user_hour_day.likes is 'Likes';

create table feature.user_post_day (
    user_id bigint not null,
    event_day date not null,
    known_from date not null,
    known_to date not null default 'infinity',
    post_ids bigint[] not null,
    hours smallint[] not null,
    actions smallint[] not null
);
create index user_post_day_by_day on feature.user_post_day using brin (event_day, known_from) with (pages_per_range = 16);
create index user_post_day_closed on feature.user_post_day (known_to) where known_to < 'infinity';
comment on table feature.user_post_day is 'Each user''s posts of a day, one row per user and day; versions as in user_topic_day';
comment on column feature.user_post_day.user_id is 'User';
comment on column feature.user_post_day.event_day is 'UTC day of the events';
comment on column feature.user_post_day.known_from is 'as_of from which this version of the day is known';
comment on column feature.user_post_day.known_to is 'as_of from which a later version holds; infinity while this one does';
comment on column feature.user_post_day.post_ids is 'Posts the user had to do with, in the order of the first event with each';
comment on column feature.user_post_day.hours is 'UTC hour of that first event, for each of post_ids';
comment on column feature.user_post_day.actions is 'What the user did, for each of post_ids: sum of 1 view, 2 like, 4 share, 8 comment, 16 hide';

create table feature.post_life (
    post_id bigint not null,
    published_at timestamptz not null,
    viewed boolean not null,
    known_from date not null,
    known_to date not null default 'infinity',
    primary key (post_id, known_from)
);
comment on table feature.post_life is 'When each post appeared, as known as of a day';
comment on column feature.post_life.post_id is 'Post';
comment on column feature.post_life.published_at is 'First view as known then; where there is none, 00:00 of the first extraction';
comment on column feature.post_life.viewed is 'Whether published_at is a view';
comment on column feature.post_life.known_from is 'First as_of that this version describes';
comment on column feature.post_life.known_to is 'as_of from which another version does; infinity while this one does';

-- What analysts read -----------------------------------------------------------------------------

create view bi.feed_day as
with days as (
    select
        event_day,
        sum(views) as views,
        sum(likes) as likes,
        sum(shares) as shares,
        sum(comments) as comments,
        sum(hides) as hides,
        count(*) filter (where views > 0) as posts_viewed
    from feature.post_day
    where known_to = 'infinity'
    group by event_day
)

select
    event_day,
    views,
    likes,
    case when max(shares) over () > 0 then shares end as shares,
    case when max(comments) over () > 0 then comments end as comments,
    case when max(hides) over () > 0 then hides end as hides,
    cast(likes as double precision) / nullif(views, 0) as like_rate,
    posts_viewed
from days;
comment on view bi.feed_day is 'The feed by day, as known now; an action that the source never has is null, not 0';
comment on column bi.feed_day.event_day is 'UTC day of the events';
comment on column bi.feed_day.views is 'Views';
comment on column bi.feed_day.likes is 'Likes';
comment on column bi.feed_day.shares is 'Shares; null where the source has none on any day';
comment on column bi.feed_day.comments is 'Comments; null where the source has none on any day';
comment on column bi.feed_day.hides is 'Times a post was hidden; null where the source has none on any day';
comment on column bi.feed_day.like_rate is 'Likes / views';
comment on column bi.feed_day.posts_viewed is 'Posts with a view';

do $$
declare
    owned regclass;
begin
    for owned in
        select oid from pg_class
        where relnamespace in ('raw'::regnamespace, 'quarantine'::regnamespace, 'feature'::regnamespace)
        and relkind in ('r', 'p') and relowner = cast(current_user as regrole)
    loop
        execute format('alter table %s owner to nightshift', owned);
    end loop;
end
$$;
