-- What each user saw long ago, in one row: a night reads a window of days and this.

create table feature.seen_snapshot (
    snapshot_id bigint generated always as identity primary key,
    before_day date not null,
    known_by date not null,
    loads bigint not null check (loads >= 0),
    built_at timestamptz not null default clock_timestamp()
);
comment on table feature.seen_snapshot is 'Snapshots of feature.user_seen; one is used as long as no load changed the days that it holds';
comment on column feature.seen_snapshot.snapshot_id is 'Snapshot';
comment on column feature.seen_snapshot.before_day is 'It holds all days before this one';
comment on column feature.seen_snapshot.known_by is 'As known by this as_of';
comment on column feature.seen_snapshot.loads is 'Rows of ops.load about those days that were there when it was built; with another number it no longer holds';
comment on column feature.seen_snapshot.built_at is 'When';

create table feature.user_seen (
    snapshot_id bigint not null references feature.seen_snapshot on delete cascade,
    user_id bigint not null,
    post_ids bigint[] not null,
    actions smallint[] not null,
    primary key (snapshot_id, user_id),
    check (cardinality(post_ids) = cardinality(actions))
);
comment on table feature.user_seen is 'Each user''s posts of all days before a snapshot''s day: feature.user_post_day joined end to end';
comment on column feature.user_seen.snapshot_id is 'Snapshot';
comment on column feature.user_seen.user_id is 'User';
comment on column feature.user_seen.post_ids is 'Posts, by day and within it in the order of the first event; one of two days is there twice';
comment on column feature.user_seen.actions is 'What the user did, for each of post_ids: sum of 1 view, 2 like, 4 share, 8 comment, 16 hide';

create aggregate feature.joined (anycompatiblearray)(
    sfunc = array_cat,
    stype = anycompatiblearray
);
comment on aggregate feature.joined (anycompatiblearray) is 'Arrays joined end to end, in the order they come';

alter table feature.seen_snapshot owner to nightshift;
alter table feature.user_seen owner to nightshift;
