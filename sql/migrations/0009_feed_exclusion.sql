-- Posts that a user must not be shown: the user's own, those of blocked authors. By version, as users
-- and posts are; an owner may not have the table at all.

create table raw.feed_exclusion (
    user_id bigint not null,
    post_id bigint not null,
    known_from date not null,
    known_to date not null default 'infinity',
    primary key (user_id, post_id, known_from)
);
comment on table raw.feed_exclusion is 'Posts that a user must not be shown, by version; empty where the owner has no such table';
comment on column raw.feed_exclusion.user_id is 'User';
comment on column raw.feed_exclusion.post_id is 'Post that no list of the user has';
comment on column raw.feed_exclusion.known_from is 'First as_of on which it holds';
comment on column raw.feed_exclusion.known_to is 'as_of from which it no longer does; infinity while it holds';

create table quarantine.feed_exclusion (
    user_id bigint,
    post_id bigint,
    copies integer not null,
    event_day date,
    as_of date not null,
    known_to date not null default 'infinity',
    reasons text[] not null,
    quarantined_at timestamptz not null default clock_timestamp()
);
comment on table quarantine.feed_exclusion is 'Rows of feed_exclusion that a check refused';
comment on column quarantine.feed_exclusion.user_id is 'User';
comment on column quarantine.feed_exclusion.post_id is 'Post';
comment on column quarantine.feed_exclusion.copies is 'Times the source holds this very row; exact duplicates are one row here';
comment on column quarantine.feed_exclusion.event_day is 'UTC day at whose end the source was so';
comment on column quarantine.feed_exclusion.as_of is 'Extraction that refused it';
comment on column quarantine.feed_exclusion.known_to is 'as_of from which the source no longer had it; infinity while it stands';
comment on column quarantine.feed_exclusion.reasons is 'Rules it broke';
comment on column quarantine.feed_exclusion.quarantined_at is 'When';

alter table raw.feed_exclusion owner to nightshift;
alter table quarantine.feed_exclusion owner to nightshift;
grant select on raw.feed_exclusion to migrator;
update ops.result_table
set inputs = inputs || array['feed_exclusion']
where table_name = 'result.feed_recommendation';
comment on column result.feed_recommendation.post_ids is 'Posts, best first; none that the user viewed before as_of, and none excluded for the user';

-- feed_at, as it was, but for what is excluded at the moment ----------------------------------------

create or replace function result.feed_at(
    user_id bigint,
    at timestamptz,
    "limit" integer default 5,
    exclude bigint[] default '{}'
) returns table (
    "position" smallint, -- noqa: RF06
    post_id bigint,
    text text,
    topic text,
    score real,
    source smallint,
    reason_code text,
    list text,
    as_of date,
    day_part smallint,
    experiment text,
    arm text,
    model_version text
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    moment constant timestamp := at at time zone 'UTC';
    day constant date := moment;
    hour constant smallint := extract(hour from moment);
    served bigint[];
    answer record;
    posts bigint[];
    scores real[];
    sources smallint[];
    version record;
    segment text;
    counted smallint := 0;
begin
    if user_id is null or at is null or not isfinite(at) then
        raise 'feed_at: user_id and at must be given; found %, %', user_id, at
            using errcode = 'invalid_parameter_value';
    end if;
    if "limit" is null or "limit" not between 1 and 100 then
        raise 'feed_at: limit must be 1 to 100; found %', "limit"
            using errcode = 'invalid_parameter_value';
    end if;

    select max(publication.as_of) into as_of
    from ops.publication
    where publication.table_name = 'result.feed_recommendation' and publication.as_of <= day;
    if as_of is null then
        return;
    end if;

    -- With the day as a literal the planner opens its partition alone; a parameter would lock and
    -- prune every day that there is. Half the time of a call is planning these two queries, so the
    -- day's partition is named where it is there, and stands in a month's after 90 days.
    execute format(
        'select day_part, arm, model_version, post_ids, scores, sources from %s'
        ' where as_of = %L and user_id = $1 and day_part <= $2 order by day_part desc limit 1',
        coalesce(
            cast(to_regclass('result.feed_recommendation_' || to_char(as_of, 'YYYYMMDD')) as text),
            'result.feed_recommendation'
        ),
        as_of
    ) into day_part, arm, model_version, posts, scores, sources using user_id, hour;
    served := exclude || array(
        select exclusion.post_id from raw.feed_exclusion as exclusion
        where
            exclusion.user_id = feed_at.user_id
            and exclusion.known_from <= day
            and exclusion.known_to > day
    );
    for answer in execute format(
        'select post_ids from %s'
        ' where user_id = $1 and served_at >= %L and served_at <= %L',
        coalesce(
            case
                when day = as_of then
                    cast(to_regclass('experiment.impression_' || to_char(day, 'YYYYMMDD')) as text)
            end,
            'experiment.impression'
        ),
        cast(as_of as timestamp) at time zone 'UTC',
        at
    ) using user_id loop
        served := served || answer.post_ids;
    end loop;

    experiment := 'feed';
    if posts is null then
        select experiment.arm(frozen.salt, frozen.arms, frozen.shares, user_id) into arm
        from experiment.frozen
        where frozen.name = experiment and frozen.as_of = as_of;
    end if;

    foreach list in array array['user', 'segment', 'everyone'] loop
        if list <> 'user' then
            if list = 'segment' then
                select result.feed_segment(user_data.age, user_data.gender) into segment
                from raw.user_data
                where
                    user_data.user_id = feed_at.user_id
                    and user_data.known_from <= day
                    and user_data.known_to > day;
                continue when segment is null or segment = '';
            else
                segment := '';
            end if;
            select
                popular.day_part,
                popular.model_version,
                popular.post_ids,
                popular.scores,
                popular.sources
            into day_part, model_version, posts, scores, sources
            from result.feed_popular as popular
            where
                popular.as_of = as_of
                and popular.segment = segment
                and popular.day_part <= hour
            order by popular.day_part desc
            limit 1;
        end if;
        for number in 1 .. coalesce(cardinality(posts), 0) loop
            post_id := posts[number];
            continue when post_id = any(served);
            select post.text, post.topic, post.known_to into version
            from raw.post_text_df as post
            where post.post_id = feed_at.post_id and post.known_from <= day
            order by post.known_from desc
            limit 1;
            -- Its last version is closed: the owner took the post away.
            continue when version.known_to <= day;
            text := version.text;
            topic := version.topic;
            score := scores[number];
            source := sources[number];
            select feed_source.reason_code into reason_code
            from result.feed_source
            where feed_source.code = source;
            counted := counted + 1;
            position := counted;
            return next;
            exit when counted = "limit";
        end loop;
        -- A list with nothing left makes room for the next; a short one is a short answer.
        exit when counted > 0;
    end loop;
end
$$;
comment on function result.feed_at is 'The posts for a user at a moment, best first: from the newest day published by then and its part of the day, without what the user was served since as_of 00:00, without exclude, without what is excluded for the user by then and without posts taken away; a user without a list gets the segment''s, then everyone''s popular posts. No row where no day is published or nothing is left';
