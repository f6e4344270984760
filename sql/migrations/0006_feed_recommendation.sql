-- feed_recommendation: a ranked list of posts for every user and part of the day.

create table result.feed_source (
    code smallint primary key,
    source text not null unique,
    reason_code text not null unique,
    words text not null
);
comment on table result.feed_source is 'Where a recommended post came from; lists carry the code';
comment on column result.feed_source.code is 'Number in result.feed_recommendation.sources';
comment on column result.feed_source.source is 'Candidate source that ranked the post best';
comment on column result.feed_source.reason_code is 'Reason that a product can show';
comment on column result.feed_source.words is 'The reason in words';
insert into result.feed_source (code, source, reason_code, words) values
(1, 'als', 'liked_by_similar_users', 'Users with likes like this one''s liked it'),
(2, 'neighbours', 'liked_together', 'Who liked what this user liked, liked it as well'),
(3, 'content', 'similar_to_liked', 'Its text is near to what this user liked'),
(4, 'popular_7d', 'popular_now', 'Most liked in the last 7 days'),
(5, 'popular_30d', 'popular_this_month', 'Most liked in the last 30 days'),
(6, 'popular_segment', 'popular_with_peers', 'Most liked in the last 7 days by users of the same age and gender'),
(7, 'fresh', 'fresh', 'Published in the last days'),
(8, 'popular_all', 'popular_ever', 'Most liked of all time');

create table result.feed_recommendation (
    as_of date not null,
    user_id bigint not null,
    day_part smallint not null check (day_part between 0 and 23),
    arm text not null,
    model_version text not null,
    post_ids bigint[] not null,
    scores real[] not null,
    sources smallint[] not null,
    primary key (as_of, user_id, day_part),
    check (cardinality(post_ids) = cardinality(scores)),
    check (cardinality(post_ids) = cardinality(sources))
) partition by range (as_of);
comment on table result.feed_recommendation is 'Posts for each user and part of the day, best first, up to 100; from the model of the user''s arm';
comment on column result.feed_recommendation.as_of is 'Day the list is for; it knows nothing later';
comment on column result.feed_recommendation.user_id is 'User';
comment on column result.feed_recommendation.day_part is 'First UTC hour of the part of the day: 0, 6, 12 or 18 unless set otherwise';
comment on column result.feed_recommendation.arm is 'Arm of the experiment feed that the user was in on as_of: control or test';
comment on column result.feed_recommendation.model_version is 'Version that made the list; see ops.model_version';
comment on column result.feed_recommendation.post_ids is 'Posts, best first; none that the user viewed before as_of';
comment on column result.feed_recommendation.scores is 'What the list is ordered by before topics are spread; comparable within one version only';
comment on column result.feed_recommendation.sources is 'Candidate source of each post: result.feed_source.code';

create table result.feed_popular (
    as_of date not null,
    segment text not null,
    day_part smallint not null check (day_part between 0 and 23),
    model_version text not null,
    post_ids bigint[] not null,
    scores real[] not null,
    sources smallint[] not null,
    primary key (as_of, segment, day_part),
    check (cardinality(post_ids) = cardinality(scores)),
    check (cardinality(post_ids) = cardinality(sources))
);
comment on table result.feed_popular is 'Popular posts of each segment and of everyone, for users without a list; published with result.feed_recommendation';
comment on column result.feed_popular.as_of is 'Day the list is for; it knows nothing later';
comment on column result.feed_popular.segment is 'Segment, see result.feed_segment; empty for everyone';
comment on column result.feed_popular.day_part is 'First UTC hour of the part of the day';
comment on column result.feed_popular.model_version is 'popular_7d: the rule, which needs no training';
comment on column result.feed_popular.post_ids is 'Posts, most liked of the last 7 days first';
comment on column result.feed_popular.scores is 'Their likes in the last 7 days';
comment on column result.feed_popular.sources is 'Candidate source of each post: result.feed_source.code';

create function result.feed_segment(age integer, gender integer) returns text
language sql immutable parallel safe
set search_path = ''
as $$
    select
        coalesce(gender::text, '-') || ' ' || case
            when age is null then '-'
            when age < 18 then '0-17'
            when age < 25 then '18-24'
            when age < 35 then '25-34'
            when age < 50 then '35-49'
            else '50+'
        end
$$;
comment on function result.feed_segment(integer, integer) is 'Segment of a user: gender and band of age';

create table feature.post_embedding (
    encoder_version text not null,
    post_id bigint not null,
    text_md5 text not null,
    embedding real[] not null,
    primary key (encoder_version, post_id, text_md5)
);
comment on table feature.post_embedding is 'A post''s text as numbers, by the encoder of a model version; one row per text the post had';
comment on column feature.post_embedding.encoder_version is 'Model version that ships the encoder';
comment on column feature.post_embedding.post_id is 'Post';
comment on column feature.post_embedding.text_md5 is 'Checksum of the text it was made from';
comment on column feature.post_embedding.embedding is 'Numbers of length 1; near texts have a large dot product';

alter table result.feed_recommendation owner to nightshift;
alter table result.feed_popular owner to nightshift;
alter table feature.post_embedding owner to nightshift;
grant select on result.feed_source to nightshift;
grant select on result.feed_recommendation, result.feed_popular to migrator;
insert into ops.result_table (table_name, job, inputs, horizon_days)
values (
    'result.feed_recommendation',
    'feed_recommendation',
    '{user_data,post_text_df,feed_data}',
    1
);

create view bi.feed_recommendation_history as
select
    list.as_of,
    list.user_id,
    list.day_part,
    cast(post.rank as smallint) as rank,
    post.post_id,
    post.score,
    feed_source.source,
    feed_source.reason_code,
    current_text.topic,
    current_text.text,
    list.arm,
    list.model_version
from result.feed_recommendation as list
cross join
    lateral unnest(list.post_ids, list.scores, list.sources)
    with ordinality as post (post_id, score, source, rank)
inner join result.feed_source on post.source = feed_source.code
left join raw.post_text_df as current_text
    on
        post.post_id = current_text.post_id
        and list.as_of >= current_text.known_from
        and list.as_of < current_text.known_to
where exists (
    select from ops.publication
    where
        publication.table_name = 'result.feed_recommendation'
        and publication.as_of = list.as_of
);
comment on view bi.feed_recommendation_history is 'Recommended posts of every published day, one row per place in a list';
comment on column bi.feed_recommendation_history.as_of is 'Day the list is for; it knows nothing later';
comment on column bi.feed_recommendation_history.user_id is 'User';
comment on column bi.feed_recommendation_history.day_part is 'First UTC hour of the part of the day';
comment on column bi.feed_recommendation_history.rank is 'Place in the list, from 1';
comment on column bi.feed_recommendation_history.post_id is 'Post';
comment on column bi.feed_recommendation_history.score is 'What the list is ordered by before topics are spread; comparable within one version only';
comment on column bi.feed_recommendation_history.source is 'Candidate source that ranked the post best';
comment on column bi.feed_recommendation_history.reason_code is 'Reason that a product can show; result.feed_source has the words';
comment on column bi.feed_recommendation_history.topic is 'Topic of the post, as known on as_of';
comment on column bi.feed_recommendation_history.text is 'Text of the post, as known on as_of';
comment on column bi.feed_recommendation_history.arm is 'Arm of the experiment feed: control or test';
comment on column bi.feed_recommendation_history.model_version is 'Version that made the list';

create view bi.feed_recommendation as
select history.*
from bi.feed_recommendation_history as history
where
    history.as_of = (
        select max(publication.as_of) from ops.publication
        where publication.table_name = 'result.feed_recommendation'
    );
comment on view bi.feed_recommendation is 'Recommended posts of the newest published day, one row per place in a list';
comment on column bi.feed_recommendation.as_of is 'Day the list is for; it knows nothing later';
comment on column bi.feed_recommendation.user_id is 'User';
comment on column bi.feed_recommendation.day_part is 'First UTC hour of the part of the day';
comment on column bi.feed_recommendation.rank is 'Place in the list, from 1';
comment on column bi.feed_recommendation.post_id is 'Post';
comment on column bi.feed_recommendation.score is 'What the list is ordered by before topics are spread; comparable within one version only';
comment on column bi.feed_recommendation.source is 'Candidate source that ranked the post best';
comment on column bi.feed_recommendation.reason_code is 'Reason that a product can show; result.feed_source has the words';
comment on column bi.feed_recommendation.topic is 'Topic of the post, as known on as_of';
comment on column bi.feed_recommendation.text is 'Text of the post, as known on as_of';
comment on column bi.feed_recommendation.arm is 'Arm of the experiment feed: control or test';
comment on column bi.feed_recommendation.model_version is 'Version that made the list';
