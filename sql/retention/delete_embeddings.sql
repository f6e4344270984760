-- retention delete embeddings: vectors of texts by encoders that serve no more
-- Grain:         one row per encoder_version, post_id and text_md5
-- Inputs:        ops.model_version, ops.promotion
-- Output:        feature.post_embedding without those of versions trained before first_day, but for
--                the version of each job that is live now, that a live source stands beside, or
--                whose texts a live one reads; and without those of pretrained encoders that no
--                version reads that is live or was trained since
-- Point in time: a version ships its encoder: whatever is missing is made again when it serves
-- Parameters:    first_day date
with live as (
    select distinct on (job) to_version as model_version
    from ops.promotion
    where decision in ('promote', 'rollback')
    order by
        job asc,
        effective_as_of desc,
        decided_at desc,
        promotion_id desc
),

readers as (
    select
        version.params ->> 'text_version' as text_version,
        version.params ->> 'sentence_version' as sentence_version
    from ops.model_version as version
    left join live on version.model_version = live.model_version
    where
        version.as_of >= cast(:first_day as date)
        or live.model_version is not null
)

delete from feature.post_embedding
where
    (
        exists (
            select from ops.model_version
            where
                model_version.model_version = post_embedding.encoder_version
                and model_version.as_of < cast(:first_day as date)
        )
        and not exists (
            select from live
            where
                live.model_version = post_embedding.encoder_version
                or starts_with(live.model_version, post_embedding.encoder_version || '-')
        )
        and not exists (
            select from readers
            where readers.text_version = post_embedding.encoder_version
        )
    )
    or (
        starts_with(post_embedding.encoder_version, 'sentence-')
        and not exists (
            select from readers
            where readers.sentence_version = post_embedding.encoder_version
        )
    )
