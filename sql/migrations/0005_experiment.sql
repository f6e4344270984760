-- Experiments, the split of users between their arms, and the log of what was shown to whom.

grant create on schema experiment to nightshift;
grant usage on schema experiment to feed_api;

-- Experiments -----------------------------------------------------------------------------------

create function experiment.are_shares(shares double precision[]) returns boolean
language sql immutable strict parallel safe
return (
    select coalesce(bool_and(share >= 0) and sum(share) > 0 and sum(share) <= 1 + 1e-9, false)
    from unnest(shares) as share
);
comment on function experiment.are_shares is 'Whether these are shares of one whole: none negative, their sum above 0 and at most 1';

create table experiment.experiment (
    name text primary key check (name <> ''),
    salt text not null unique check (salt <> ''),
    arms text[] not null check (cardinality(arms) >= 2 and array_position(arms, null) is null),
    shares double precision[] not null check (experiment.are_shares(shares)),
    starts_on date not null,
    ends_on date check (ends_on >= starts_on),
    primary_metric text not null,
    description text,
    check (cardinality(arms) = cardinality(shares) and array_position(shares, null) is null)
);
comment on table experiment.experiment is 'Experiments; a change of shares counts from the next day that was not run yet (experiment.frozen)';
comment on column experiment.experiment.name is 'Experiment';
comment on column experiment.experiment.salt is 'What its split is hashed with; two experiments with salts of their own are independent';
comment on column experiment.experiment.arms is 'Arms, the first is the one that the others are compared with';
comment on column experiment.experiment.shares is 'Share of the users for each arm, 0 to 1; users beyond their sum are in no arm';
comment on column experiment.experiment.starts_on is 'First UTC day';
comment on column experiment.experiment.ends_on is 'Last UTC day; null while it has no end';
comment on column experiment.experiment.primary_metric is 'The metric that decides: like_rate, user_like_share or hitrate_5';
comment on column experiment.experiment.description is 'What is compared, in words';
insert into experiment.experiment (
    name, salt, arms, shares, starts_on, ends_on, primary_metric, description
)
values (
    'feed',
    'feed-1',
    '{control,test}',
    '{0.5,0.5}',
    '1990-01-01',
    null,
    'like_rate',
    'Feed lists: text as TF-IDF (control) against neural text embeddings and their clusters (test)'
);

create table experiment.frozen (
    as_of date not null,
    name text not null references experiment.experiment,
    salt text not null,
    arms text[] not null,
    shares double precision[] not null,
    primary key (as_of, name)
);
comment on table experiment.frozen is 'The split as the first run of a day found it; every later run of that day reads it here';
comment on column experiment.frozen.as_of is 'Day';
comment on column experiment.frozen.name is 'Experiment';
comment on column experiment.frozen.salt is 'Salt on that day';
comment on column experiment.frozen.arms is 'Arms on that day';
comment on column experiment.frozen.shares is 'Shares on that day';

-- The split; jobs/experiment/split.py has the same two functions -----------------------------------

-- Without a search_path of their own, which would cost ten times what they do.
-- Without a search_path of their own, which would cost ten times what they do. A backslash would be
-- read as an escape by the cast to bytea.
create function experiment.bucket(salt text, user_id bigint) returns double precision
language sql immutable strict parallel safe
return cast(
    cast('x' || left(encode(sha256(
        cast(replace(salt, E'\\', E'\\\\') || ':' || cast(user_id as text) as bytea)
    ), 'hex'), 8) as bit(32)) as bigint
) / cast(4294967296 as double precision);
comment on function experiment.bucket is 'Where a user lies between 0 and 1: the first 8 hex digits of sha256(salt, '':'', user id), divided by 2^32';

create function experiment.arm(
    salt text, arms text[], shares double precision[], user_id bigint
) returns text
language plpgsql immutable strict parallel safe
as $$
declare
    place constant double precision := experiment.bucket(salt, user_id);
    ends double precision := 0;
begin
    for number in 1 .. cardinality(arms) loop
        ends := ends + shares[number];
        if place < ends then
            return arms[number];
        end if;
    end loop;
    return null;
end
$$;
comment on function experiment.arm is 'A user''s arm: the first whose cumulated share exceeds the user''s bucket; null beyond their sum';

-- What was shown ----------------------------------------------------------------------------------

create table experiment.impression (
    request_id uuid not null,
    served_at timestamptz not null,
    user_id bigint not null,
    experiment text,
    arm text,
    as_of date not null,
    day_part smallint not null,
    model_version text not null,
    list text not null check (list in ('user', 'segment', 'everyone')),
    post_ids bigint[] not null,
    positions smallint[] not null,
    sources smallint[] not null,
    propensities real[],
    primary key (request_id, served_at),
    check (cardinality(post_ids) = cardinality(positions)),
    check (cardinality(post_ids) = cardinality(sources)),
    check (cardinality(post_ids) = cardinality(propensities))
) partition by range (served_at);
create index impression_user on experiment.impression (user_id, served_at);
create table experiment.impression_default partition of experiment.impression default;
comment on table experiment.impression is 'One row per answer of the feed: which posts a user was shown, from which list';
comment on column experiment.impression.request_id is 'Answer; written again, it stays one row';
comment on column experiment.impression.served_at is 'Moment that the list was asked for';
comment on column experiment.impression.user_id is 'User';
comment on column experiment.impression.experiment is 'Experiment';
comment on column experiment.impression.arm is 'Arm that the user was in; null for users in no arm';
comment on column experiment.impression.as_of is 'Published day that the posts came from';
comment on column experiment.impression.day_part is 'First UTC hour of the part of the day';
comment on column experiment.impression.model_version is 'Version that made the list';
comment on column experiment.impression.list is 'user: the user''s own; segment or everyone: what is popular there, for users without one';
comment on column experiment.impression.post_ids is 'Posts in the order shown';
comment on column experiment.impression.positions is 'Their positions in the answer, from 1';
comment on column experiment.impression.sources is 'Their candidate sources, by code';
comment on column experiment.impression.propensities is 'Chance with which each post got its slot where slots were drawn; null where none was';
comment on table experiment.impression_default is 'Impressions of days that have no partition yet';

-- Whoever asked to be forgotten is not written down again, however late the row arrives.
create function experiment.leave_out_forgotten() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from ops.forgotten
        where
            forgotten.person = 'user'
            and forgotten.key_sha256
            = encode(sha256(cast(cast(new.user_id as text) as bytea)), 'hex')
    ) then
        return null;
    end if;
    return new;
end
$$;
comment on function experiment.leave_out_forgotten is 'Drops a row about a user who was erased on request';
create trigger leave_out_forgotten before insert on experiment.impression
for each row execute function experiment.leave_out_forgotten();

create function experiment.make_impression_days(first_day date, last_day date) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    made integer := 0;
    day date;
    name text;
begin
    -- Two callers at once would both make the same day.
    perform pg_advisory_xact_lock(hashtextextended('experiment.impression', 0));
    for number in 0 .. last_day - first_day loop
        day := first_day + number;
        name := 'impression_' || to_char(day, 'YYYYMMDD');
        continue when to_regclass('experiment.' || name) is not null;
        -- An impression of the day that came between the move and the attach would stop it.
        lock table experiment.impression_default in access exclusive mode;
        execute format(
            'create table experiment.%I (like experiment.impression including all,'
            ' check (served_at >= %L and served_at < %L))',
            name, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC'
        );
        -- Rows of a day that had no partition lie in the default one, which must not have them.
        execute format(
            'with moved as (delete from experiment.impression_default'
            ' where served_at >= %L and served_at < %L returning *)'
            ' insert into experiment.%I select * from moved',
            day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC', name
        );
        execute format(
            'alter table experiment.impression attach partition experiment.%I'
            ' for values from (%L) to (%L)',
            name, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC'
        );
        made := made + 1;
    end loop;
    return made;
end
$$;
comment on function experiment.make_impression_days is 'Makes the partitions of these days where they are missing, both ends included; returns how many';

create view bi.impression as
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
    shown.propensity
from experiment.impression
cross join
    lateral unnest(
        impression.positions, impression.post_ids, impression.sources, impression.propensities
    ) as shown (position, post_id, source, propensity);
comment on view bi.impression is 'One row per post shown: which answer of the feed showed it to whom, from which list';
comment on column bi.impression.served_at is 'Moment that the list was asked for';
comment on column bi.impression.request_id is 'Answer; its posts share it';
comment on column bi.impression.user_id is 'User';
comment on column bi.impression.experiment is 'Experiment';
comment on column bi.impression.arm is 'Arm that the user was in; null for users in no arm';
comment on column bi.impression.as_of is 'Published day that the posts came from';
comment on column bi.impression.day_part is 'First UTC hour of the part of the day';
comment on column bi.impression.model_version is 'Version that made the list';
comment on column bi.impression.list is 'user: the user''s own; segment or everyone: what is popular there, for users without one';
comment on column bi.impression.position is 'Position in the answer, from 1';
comment on column bi.impression.post_id is 'Post shown';
comment on column bi.impression.source is 'Its candidate source, by code';
comment on column bi.impression.propensity is 'Chance with which it got its slot where slots were drawn; null where none was';

-- Rights ------------------------------------------------------------------------------------------

revoke execute on all functions in schema experiment from public;
-- All: a new partition gets the trigger of its parent.
grant execute on all functions in schema experiment to nightshift;
grant select on experiment.experiment to nightshift;
grant select, insert on experiment.frozen to nightshift;
alter table experiment.impression owner to nightshift;
alter table experiment.impression_default owner to nightshift;
grant select on experiment.impression to migrator;
grant insert on experiment.impression to feed_api;
