-- retention delete image embeddings: vectors of pictures by encoders that serve no more
-- Grain:         one row per encoder_version, post_id and uri
-- Inputs:        ops.model_version, ops.promotion
-- Output:        feature.post_image_embedding without those made before first_day by an encoder
--                that no version reads that is live or was trained since
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
)

delete from feature.post_image_embedding
where
    embedded_at < cast(:first_day as date)
    and not exists (
        select from ops.model_version as version
        left join live on version.model_version = live.model_version
        where
            version.params ->> 'picture_version' = post_image_embedding.encoder_version
            and (version.as_of >= cast(:first_day as date) or live.model_version is not null)
    )
