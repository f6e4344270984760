-- The feed at any moment, and how the arms of an experiment did.

-- The list of a user at a moment --------------------------------------------------------------------

create function result.feed_at(
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
    served := exclude;
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
comment on function result.feed_at is 'The posts for a user at a moment, best first: from the newest day published by then and its part of the day, without what the user was served since as_of 00:00, without exclude and without posts taken away; a user without a list gets the segment''s, then everyone''s popular posts. No row where no day is published or nothing is left';

create function result.feed_arm(user_id bigint, at timestamptz) returns table (
    as_of date,
    experiment text,
    arm text
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
    select max(publication.as_of) into as_of
    from ops.publication
    where
        publication.table_name = 'result.feed_recommendation'
        and publication.as_of <= cast(at at time zone 'UTC' as date);
    if as_of is null then
        return;
    end if;
    experiment := 'feed';
    select experiment.arm(frozen.salt, frozen.arms, frozen.shares, user_id) into arm
    from experiment.frozen
    where frozen.name = experiment and frozen.as_of = as_of;
    return next;
end
$$;
comment on function result.feed_arm is 'The day that feed_at serves at a moment, and the arm that the user is in on that day; no row where no day is published';

-- The readout ---------------------------------------------------------------------------------------

create table experiment.user_day (
    experiment text not null,
    as_of date not null,
    user_id bigint not null,
    arm text not null,
    in_both boolean not null,
    impressions integer not null check (impressions > 0),
    hits integer not null check (hits between 0 and impressions),
    views integer not null check (views >= 0),
    likes integer not null check (likes between 0 and views),
    primary key (as_of, experiment, user_id)
);
comment on table experiment.user_day is 'What each user was shown on the day before as_of and did with it; the readout is summed from here';
comment on column experiment.user_day.experiment is 'Experiment';
comment on column experiment.user_day.as_of is 'Run; it counts the day before';
comment on column experiment.user_day.user_id is 'User';
comment on column experiment.user_day.arm is 'Arm of the day''s first answer';
comment on column experiment.user_day.in_both is 'Whether answers of that day came from different arms';
comment on column experiment.user_day.impressions is 'Answers of the feed';
comment on column experiment.user_day.hits is 'Answers of whose first five posts the user liked one afterwards, on the same day';
comment on column experiment.user_day.views is 'Posts shown that day and viewed (or liked) afterwards on that day, each once; events may stand up to five minutes before the answer, since clocks differ';
comment on column experiment.user_day.likes is 'Those of them that were liked';

create table experiment.user_total (
    experiment text not null,
    as_of date not null,
    user_id bigint not null,
    first_as_of date not null,
    arm text not null,
    in_both boolean not null,
    impressions bigint not null,
    hits bigint not null,
    views bigint not null,
    likes bigint not null,
    primary key (as_of, experiment, user_id)
);
comment on table experiment.user_total is 'Sums of experiment.user_day since the experiment began, one snapshot per as_of; the last few are kept, from which the next is made';
comment on column experiment.user_total.experiment is 'Experiment';
comment on column experiment.user_total.as_of is 'Run; it counts the days before';
comment on column experiment.user_total.user_id is 'User';
comment on column experiment.user_total.first_as_of is 'The user''s first row in experiment.user_day';
comment on column experiment.user_total.arm is 'Arm of the user''s first answer';
comment on column experiment.user_total.in_both is 'Whether the user was ever served by different arms';
comment on column experiment.user_total.impressions is 'Answers of the feed';
comment on column experiment.user_total.hits is 'Answers with a like among the first five posts';
comment on column experiment.user_total.views is 'Posts shown and viewed';
comment on column experiment.user_total.likes is 'Posts shown and liked';

create table result.experiment_daily (
    as_of date not null,
    experiment text not null,
    arm text not null,
    event_day date not null,
    users bigint not null check (users >= 0),
    impressions bigint not null check (impressions >= 0),
    views bigint not null check (views >= 0),
    likes bigint not null check (likes between 0 and views),
    like_rate double precision check (like_rate between 0 and 1),
    like_rate_low double precision,
    like_rate_high double precision,
    user_like_share double precision check (user_like_share between 0 and 1),
    user_like_share_low double precision,
    user_like_share_high double precision,
    hitrate_5 double precision check (hitrate_5 between 0 and 1),
    hitrate_5_low double precision,
    hitrate_5_high double precision,
    users_in_both bigint not null check (users_in_both >= 0),
    planned_share double precision not null check (planned_share between 0 and 1),
    sample_ratio_p double precision check (sample_ratio_p between 0 and 1),
    sample_ratio_alarm boolean not null,
    model_version text not null,
    primary key (as_of, experiment, arm)
) partition by range (as_of);
create table result.experiment_result (
    as_of date not null,
    experiment text not null,
    arm text not null,
    metric text not null,
    compared_with text not null,
    is_primary boolean not null,
    first_day date not null,
    last_day date not null check (last_day >= first_day),
    users bigint not null check (users >= 0),
    users_compared bigint not null check (users_compared >= 0),
    value double precision check (value between 0 and 1),
    value_compared double precision check (value_compared between 0 and 1),
    difference double precision,
    low double precision check (low <= difference),
    high double precision check (high >= difference),
    p_value double precision check (p_value between 0 and 1),
    users_in_both bigint not null check (users_in_both >= 0),
    sample_ratio_p double precision check (sample_ratio_p between 0 and 1),
    sample_ratio_alarm boolean not null,
    verdict text not null check (
        verdict in ('better', 'worse', 'no difference shown', 'too little data', 'not to be read')
    ),
    model_version text not null,
    primary key (as_of, experiment, arm, metric)
) partition by range (as_of);
alter table experiment.user_day owner to nightshift;
alter table experiment.user_total owner to nightshift;
alter table result.experiment_daily owner to nightshift;
alter table result.experiment_result owner to nightshift;
grant select on result.experiment_daily, result.experiment_result to migrator;
insert into ops.result_table (table_name, job, inputs, horizon_days) values
('result.experiment_daily', 'experiment_readout', '{feed_data}', 0),
('result.experiment_result', 'experiment_readout', '{feed_data}', 0);

create view bi.experiment_daily_history as
select
    daily.as_of,
    daily.event_day,
    daily.experiment,
    daily.arm,
    daily.users,
    daily.impressions,
    daily.views,
    daily.likes,
    daily.like_rate,
    daily.like_rate_low,
    daily.like_rate_high,
    daily.user_like_share,
    daily.user_like_share_low,
    daily.user_like_share_high,
    daily.hitrate_5,
    daily.hitrate_5_low,
    daily.hitrate_5_high,
    daily.users_in_both,
    daily.planned_share,
    daily.sample_ratio_p,
    daily.sample_ratio_alarm,
    daily.model_version
from result.experiment_daily as daily
where exists (
    select from ops.publication
    where
        publication.table_name = 'result.experiment_daily'
        and publication.as_of = daily.as_of
);
create view bi.experiment_daily as
select history.*
from bi.experiment_daily_history as history
where
    history.as_of = (
        select max(publication.as_of) from ops.publication
        where publication.table_name = 'result.experiment_daily'
    );
create view bi.experiment_result_history as
select
    compared.as_of,
    compared.experiment,
    compared.arm,
    compared.compared_with,
    compared.metric,
    compared.is_primary,
    compared.first_day,
    compared.last_day,
    compared.users,
    compared.users_compared,
    compared.value,
    compared.value_compared,
    compared.difference,
    compared.low,
    compared.high,
    compared.p_value,
    compared.verdict,
    compared.users_in_both,
    compared.sample_ratio_p,
    compared.sample_ratio_alarm,
    compared.model_version
from result.experiment_result as compared
where exists (
    select from ops.publication
    where
        publication.table_name = 'result.experiment_result'
        and publication.as_of = compared.as_of
);
create view bi.experiment_result as
select history.*
from bi.experiment_result_history as history
where
    history.as_of = (
        select max(publication.as_of) from ops.publication
        where publication.table_name = 'result.experiment_result'
    );

comment on table result.experiment_daily is 'How each arm did on the day before as_of';
comment on view bi.experiment_daily_history is 'How each arm of each experiment did, day by day';
comment on view bi.experiment_daily is 'How each arm of each experiment did on the newest published day';
comment on table result.experiment_result is 'Each arm against the first one, from the experiment''s first day to the day before as_of';
comment on view bi.experiment_result_history is 'Each arm against the first one, as it stood on every published day';
comment on view bi.experiment_result is 'Each arm against the first one, from the experiment''s first day to the newest published one';
do $$
declare
    said constant jsonb := jsonb_build_object(
        'as_of', 'Run that published the row; it knows what had happened before',
        'event_day', 'UTC day described: the day before as_of',
        'experiment', 'Experiment',
        'arm', 'Arm',
        'compared_with', 'Arm it is compared with: the experiment''s first',
        'metric', 'like_rate, user_like_share or hitrate_5, as in bi.experiment_daily',
        'is_primary', 'Whether this is the metric that decides',
        'first_day', 'First UTC day counted',
        'last_day', 'Last UTC day counted',
        'users', 'Users of the arm who were shown something, without those seen in both arms',
        'users_compared', 'Users of the arm it is compared with, counted likewise',
        'impressions', 'Answers of the feed to them',
        'views', 'Posts shown to them and viewed afterwards on that day',
        'likes', 'Those of them that were liked',
        'like_rate', 'likes / views',
        'like_rate_low', 'Lower end of its 95 % interval (users are the units); null where users are too few',
        'like_rate_high', 'Upper end of its 95 % interval; null where users are too few',
        'user_like_share', 'Share of the users who liked something they were shown',
        'user_like_share_low', 'Lower end of its 95 % interval; null where users are too few',
        'user_like_share_high', 'Upper end of its 95 % interval; null where users are too few',
        'hitrate_5', 'Share of the answers of whose first five posts the user liked one afterwards on that day',
        'hitrate_5_low', 'Lower end of its 95 % interval (users are the units); null where users are too few',
        'hitrate_5_high', 'Upper end of its 95 % interval; null where users are too few',
        'value', 'The metric in the arm',
        'value_compared', 'The metric in the arm it is compared with',
        'difference', 'value - value_compared; null where sample_ratio_alarm forbids to read it',
        'low', 'Lower end of the difference''s 95 % interval',
        'high', 'Upper end of the difference''s 95 % interval',
        'p_value', 'Chance of a difference this far from 0 or farther if there were none; of one look, not of a look every night',
        'verdict', 'better or worse where the interval lies on one side of 0; not to be read where sample_ratio_alarm is true',
        'users_in_both', 'Users served by different arms; they are left out of the other columns',
        'planned_share', 'Share of the users that the split gives the arm',
        'sample_ratio_p', 'Chance of user counts this far from the planned shares (chi-square); small: the split or the log is broken',
        'sample_ratio_alarm', 'True where sample_ratio_p is under .001: nothing is to be concluded then',
        'model_version', 'Version of the method that made the row'
    );
    described record;
begin
    for described in
        select attrelid, attname
        from pg_attribute
        where
            attrelid in (
                'result.experiment_daily'::regclass,
                'bi.experiment_daily_history'::regclass,
                'bi.experiment_daily'::regclass,
                'result.experiment_result'::regclass,
                'bi.experiment_result_history'::regclass,
                'bi.experiment_result'::regclass
            )
            and attnum > 0
    loop
        execute format(
            'comment on column %s.%I is %L',
            described.attrelid::regclass, described.attname, said ->> described.attname
        );
    end loop;
end
$$;

-- The impressions name their source, now that sources have names ------------------------------------

create or replace view bi.impression as
select
    impression.served_at,
    impression.request_id,
    impression.user_id,
    impression.experiment,
    impression.arm,
    impression.as_of,
    impression.day_part,
    impression.model_version,
    impression.list,
    shown.position,
    shown.post_id,
    shown.source,
    shown.propensity,
    feed_source.source as source_name,
    feed_source.reason_code
from experiment.impression
cross join
    lateral unnest(
        impression.positions, impression.post_ids, impression.sources, impression.propensities
    ) as shown (position, post_id, source, propensity)
left join result.feed_source on shown.source = feed_source.code;
comment on column bi.impression.source_name is 'Its candidate source';
comment on column bi.impression.reason_code is 'Reason that a product can show; result.feed_source has the words';

-- Rights: what feed_at reads as its owner, and who may call it --------------------------------------

grant select on raw.user_data, raw.post_text_df to migrator;
revoke execute on function result.feed_at, result.feed_arm from public;
grant execute on function result.feed_at, result.feed_arm to nightshift, feed_api;
grant usage on schema result to feed_api;
