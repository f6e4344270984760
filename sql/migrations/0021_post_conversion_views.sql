-- post_conversion: which post a row is about, whether its version was fitted on it, and when a
-- picture was embedded: a backfill embeds for a day long ago.

alter table feature.post_image_embedding
add column embedded_at timestamptz not null default clock_timestamp();
comment on column feature.post_image_embedding.embedded_at is 'When it was made; what no version reads goes 90 days later';

create or replace view bi.post_conversion_history as
select
    scored.as_of,
    scored.post_id,
    scored.action,
    scored.predicted_rate,
    scored.predicted_low,
    scored.predicted_high,
    scored.views,
    scored.observed_rate,
    scored.expected_rate,
    scored.picture_added,
    (
        select
            jsonb_agg(
                jsonb_build_object('feature', reason.feature, 'contribution', reason.contribution)
                order by reason.rank
            )
        from
            unnest(scored.reason_features, scored.reason_contributions)
            with ordinality as reason (feature, contribution, rank)
    ) as reasons,
    scored.reason_rest,
    scored.model_version,
    life.published_at,
    post.topic,
    cast(life.published_at at time zone 'UTC' as date) + 7 <= version.train_to as is_learned_from
from result.post_conversion as scored
left join feature.post_life as life
    on
        scored.post_id = life.post_id
        and scored.as_of >= life.known_from
        and scored.as_of < life.known_to
left join raw.post_text_df as post
    on
        scored.post_id = post.post_id
        and scored.as_of >= post.known_from
        and scored.as_of < post.known_to
left join ops.model_version as version on scored.model_version = version.model_version
where exists (
    select from ops.publication
    where
        publication.table_name = 'result.post_conversion'
        and publication.as_of = scored.as_of
);

create or replace view bi.post_conversion as
select history.*
from bi.post_conversion_history as history
where
    history.as_of = (
        select max(publication.as_of) from ops.publication
        where publication.table_name = 'result.post_conversion'
    );

create view bi.post_value_weight as
select * from ops.post_value_weight;

comment on view bi.post_value_weight is 'What one action is worth in bi.post_value, by version of the weights';
comment on column bi.post_value_weight.weights_version is 'Version of the weights';
comment on column bi.post_value_weight.action is 'like, share, comment or hide; one that a version does not name is worth nothing';
comment on column bi.post_value_weight.weight is 'Worth of one action, in likes; less than 0 for harm';
comment on column bi.post_value_weight.reason is 'Why';
comment on column bi.post_value_weight.set_at is 'When';

do $$
declare
    told text;
begin
    foreach told in array array['bi.post_conversion_history', 'bi.post_conversion']
    loop
        execute format('comment on column %s.published_at is %L', told, 'First view of the post, as known on as_of');
        execute format('comment on column %s.topic is %L', told, 'Its topic, as known on as_of; of posts of VK whose wall it is on');
        execute format('comment on column %s.is_learned_from is %L', told, 'Whether the version was fitted or calibrated on this post: predicted_rate is then no forecast, and expected_rate counts its views twice. How good forecasts are is in bi.post_conversion_experiments and, of published ones, in bi.model_quality (stage matured)');
        execute format('comment on column %s.views is %L', told, 'Views so far, on all days: not only the 7 that predicted_rate is of');
        execute format('comment on column %s.observed_rate is %L', told, 'Share of the views so far (all days) that ended in the action; null without a view');
        execute format('comment on column %s.expected_rate is %L', told, 'Rate to expect, of prediction and views so far (all days), each by its weight: what to rank posts of one age by');
        execute format('comment on column %s.picture_added is %L', told, 'By how much the picture raises predicted_rate (.04: 4 more in 100 views), against the same post without one; null where it has none, or what serves reads none');
    end loop;
    execute format('comment on column bi.post_value.weights_version is %L', 'Version of the weights; bi.post_value_weight has them');
    execute format('comment on column bi.post_value.value is %L', 'Sum of the actions'' expected rates by their weights, in likes a view; less than 0 where hides outweigh the rest');
    foreach told in array array['log_loss', 'held_log_loss']
    loop
        execute format(
            'comment on column bi.post_conversion_experiments.%s is %L', told,
            col_description('bi.post_conversion_experiments'::regclass, (
                select attnum from pg_attribute
                where attrelid = 'bi.post_conversion_experiments'::regclass and attname = told
            )) || ', in nats'
        );
    end loop;
    execute format('comment on column bi.post_conversion_experiments.picture_gain is %L', 'How much less a view loses with pictures than without, in nats, the same model on the same posts; null for those without');
end
$$;
