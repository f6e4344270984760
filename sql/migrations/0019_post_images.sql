-- post_conversion: pictures of posts as numbers, and those that could not be had.

create table feature.post_image_embedding (
    encoder_version text not null,
    post_id bigint not null,
    uri text not null,
    embedding real[] not null,
    known_from date not null
);
-- By checksum: an address may be longer than an index holds.
create unique index post_image_embedding_key on feature.post_image_embedding (encoder_version, post_id, md5(uri));
comment on table feature.post_image_embedding is 'A post''s picture as numbers, one row per encoder_version, post_id and uri';
comment on column feature.post_image_embedding.encoder_version is 'Encoder: network, pixels of a side, checksum of its weights, way of preparing';
comment on column feature.post_image_embedding.post_id is 'Post';
comment on column feature.post_image_embedding.uri is 'Where the picture was; another address is another picture';
comment on column feature.post_image_embedding.embedding is 'What the network makes of the picture, then ten plain statistics of it (jobs/post_conversion/image_statistics.py)';
comment on column feature.post_image_embedding.known_from is 'as_of of the run that embedded it';

create table quarantine.post_picture (
    post_id bigint not null,
    uri text not null,
    reason text not null,
    as_of date not null,
    quarantined_at timestamptz not null default clock_timestamp()
);
create unique index post_picture_key on quarantine.post_picture (post_id, md5(uri));
comment on table quarantine.post_picture is 'Pictures of posts that could not be embedded, one row per post_id and uri. Delete a row to have its picture tried again';
comment on column quarantine.post_picture.post_id is 'Post';
comment on column quarantine.post_picture.uri is 'Where its picture should be';
comment on column quarantine.post_picture.reason is 'Why not. A missing, empty or unreadable file and one outside the folders of NIGHTSHIFT_IMAGE_ROOTS are tried again every night, and their row goes once the picture is embedded';
comment on column quarantine.post_picture.as_of is 'Run that refused it for this reason first';
comment on column quarantine.post_picture.quarantined_at is 'When that was';

alter table feature.post_image_embedding owner to nightshift;
alter table quarantine.post_picture owner to nightshift;
