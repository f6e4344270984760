-- post_conversion: what share of a post's views becomes each action, and what its picture adds.

create table result.post_conversion (
    as_of date not null,
    post_id bigint not null,
    action text not null check (action in ('like', 'share', 'comment', 'hide')),
    predicted_rate real not null check (predicted_rate > 0 and predicted_rate < 1),
    predicted_low real not null check (predicted_low >= 0),
    predicted_high real not null check (predicted_high <= 1),
    views bigint not null check (views >= 0),
    observed_rate real check (observed_rate between 0 and 1),
    expected_rate real not null check (expected_rate > 0 and expected_rate < 1),
    picture_added real,
    reason_features text[] not null default '{}',
    reason_contributions real[] not null default '{}',
    reason_rest real,
    model_version text not null,
    primary key (as_of, post_id, action),
    check (predicted_low <= predicted_high),
    check (cardinality(reason_features) = cardinality(reason_contributions)),
    check ((views = 0) = (observed_rate is null))
) partition by range (as_of);
comment on table result.post_conversion is 'Rates of each post and action, one row per as_of, post and action';
comment on column result.post_conversion.as_of is 'Day the row is for; it knows nothing later';
comment on column result.post_conversion.post_id is 'Post';
comment on column result.post_conversion.action is 'like, share, comment or hide; none that the source never has';
comment on column result.post_conversion.predicted_rate is 'Share of the views in its first 7 days that end in the action, as predicted from text, picture and what is known when it is published; calibrated';
comment on column result.post_conversion.predicted_low is 'Lower end of the 95 % interval of the post''s true rate, before any view';
comment on column result.post_conversion.predicted_high is 'Upper end of it';
comment on column result.post_conversion.views is 'Views so far';
comment on column result.post_conversion.observed_rate is 'Share of the views so far that ended in the action; null without a view';
comment on column result.post_conversion.expected_rate is 'Rate to expect, of prediction and views so far, each by its weight: what to rank by';
comment on column result.post_conversion.picture_added is 'By how much the picture raises predicted_rate, against the same post without one; null where it has none, or what serves reads none';
comment on column result.post_conversion.reason_features is 'What moved the prediction most, at most five: words, letters of words, how the text looks, topic, text (its vector), picture; none where a forest, a network or a plain rate serves';
comment on column result.post_conversion.reason_contributions is 'Their contributions to its log-odds, largest first';
comment on column result.post_conversion.reason_rest is 'What is left: contributions and this sum to the log-odds of predicted_rate; null without reasons';
comment on column result.post_conversion.model_version is 'Version that made the row; see ops.model_version';
alter table result.post_conversion owner to nightshift;
grant select on result.post_conversion to migrator;

insert into ops.result_table (table_name, job, inputs, horizon_days) values
('result.post_conversion', 'post_conversion', '{post_text_df,post_image,feed_data}', 7);

-- What a training compared and chose ------------------------------------------------------------

create table result.post_conversion_experiments (
    model_version text not null,
    as_of date not null,
    action text not null,
    model text not null,
    text text not null,
    with_pictures boolean not null,
    serves boolean not null,
    held_log_loss double precision not null,
    held_posts integer not null,
    log_loss double precision not null,
    log_loss_low double precision not null,
    log_loss_high double precision not null,
    spearman double precision,
    spearman_within double precision,
    absolute_error double precision,
    calibration_error double precision,
    top_decile_lift double precision,
    interval_coverage double precision,
    picture_gain double precision,
    picture_gain_low double precision,
    picture_gain_high double precision,
    posts integer not null,
    views bigint not null,
    primary key (model_version, action, model, text, with_pictures)
);
comment on table result.post_conversion_experiments is 'Each training''s candidates on the same later posts, with and without pictures';
comment on column result.post_conversion_experiments.model_version is 'Version that was chosen from these candidates';
comment on column result.post_conversion_experiments.as_of is 'Day it was trained for';
comment on column result.post_conversion_experiments.action is 'like, share, comment or hide';
comment on column result.post_conversion_experiments.model is 'linear (least squares), ridge, forest, catboost, hybrid (network that joins text and picture), global_rate, topic_rate';
comment on column result.post_conversion_experiments.text is 'What the text is read by: tfidf, svd (tfidf, reduced), neural (the feed''s encoder), sentence (the configured encoder), none';
comment on column result.post_conversion_experiments.with_pictures is 'Whether the picture is read';
comment on column result.post_conversion_experiments.serves is 'Whether it serves the action';
comment on column result.post_conversion_experiments.held_log_loss is 'Log-loss of a view of the later posts that the choice is made by';
comment on column result.post_conversion_experiments.held_posts is 'Posts that it is of';
comment on column result.post_conversion_experiments.log_loss is 'Log-loss of a view of the gate''s posts, published after all that was fitted or chosen by';
comment on column result.post_conversion_experiments.log_loss_low is 'Lower end of its 95 % interval, by post';
comment on column result.post_conversion_experiments.log_loss_high is 'Upper end of its 95 % interval, by post';
comment on column result.post_conversion_experiments.spearman is 'Rank correlation of predicted and observed rates; 0 where all are predicted alike, null where it says nothing';
comment on column result.post_conversion_experiments.spearman_within is 'The same within each topic, the mean by posts: much of a headline figure is only what or who was posted';
comment on column result.post_conversion_experiments.absolute_error is 'Mean distance of predicted and observed rate, by views';
comment on column result.post_conversion_experiments.calibration_error is 'Mean distance of predicted and observed rate of tenths of the views, by predicted rate';
comment on column result.post_conversion_experiments.top_decile_lift is 'Rate of the tenth of posts predicted highest, by that of all';
comment on column result.post_conversion_experiments.interval_coverage is 'Share of posts whose count lies within the 95 % interval of its prediction; of what serves';
comment on column result.post_conversion_experiments.picture_gain is 'How much less a view loses with pictures than without, the same model on the same posts; null for those without';
comment on column result.post_conversion_experiments.picture_gain_low is 'Lower end of its paired 95 % interval, by post';
comment on column result.post_conversion_experiments.picture_gain_high is 'Upper end of it';
comment on column result.post_conversion_experiments.posts is 'Posts of the gate';
comment on column result.post_conversion_experiments.views is 'Their views';
alter table result.post_conversion_experiments owner to nightshift;
grant select on result.post_conversion_experiments to migrator;

-- What an action is worth -----------------------------------------------------------------------

create table ops.post_value_weight (
    weights_version integer not null check (weights_version > 0),
    action text not null check (action in ('like', 'share', 'comment', 'hide')),
    weight double precision not null,
    reason text not null,
    set_at timestamptz not null default clock_timestamp(),
    primary key (weights_version, action)
);
comment on table ops.post_value_weight is 'What one action is worth, by version: rows are added, never changed';
comment on column ops.post_value_weight.weights_version is 'Version of the weights';
comment on column ops.post_value_weight.action is 'like, share, comment or hide; one that a version does not name is worth nothing';
comment on column ops.post_value_weight.weight is 'Worth of one action, in likes; less than 0 for harm';
comment on column ops.post_value_weight.reason is 'Why';
comment on column ops.post_value_weight.set_at is 'When';
insert into ops.post_value_weight (weights_version, action, weight, reason) values
(1, 'like', 1, 'a start: a share brings readers, a comment an answer, who hides a post may leave'),
(1, 'share', 5, 'a start: a share brings readers, a comment an answer, who hides a post may leave'),
(1, 'comment', 3, 'a start: a share brings readers, a comment an answer, who hides a post may leave'),
(1, 'hide', -10, 'a start: a share brings readers, a comment an answer, who hides a post may leave');
grant select, insert on ops.post_value_weight to nightshift;

-- What people read ------------------------------------------------------------------------------

create view bi.post_conversion_history as
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
    scored.model_version
from result.post_conversion as scored
where exists (
    select from ops.publication
    where
        publication.table_name = 'result.post_conversion'
        and publication.as_of = scored.as_of
);

create view bi.post_conversion as
select history.*
from bi.post_conversion_history as history
where
    history.as_of = (
        select max(publication.as_of) from ops.publication
        where publication.table_name = 'result.post_conversion'
    );

create view bi.post_conversion_experiments as
select * from result.post_conversion_experiments;

create view bi.post_value as
select
    scored.as_of,
    scored.post_id,
    weights.weights_version,
    sum(weights.weight * scored.expected_rate) as value,
    sum(weights.weight * scored.predicted_rate) as predicted_value
from bi.post_conversion as scored
inner join ops.post_value_weight as weights on scored.action = weights.action
group by
    scored.as_of,
    scored.post_id,
    weights.weights_version;

comment on view bi.post_conversion_history is 'Rates of each post and action, of every published day';
comment on column bi.post_conversion_history.as_of is 'Day the row is for; it knows nothing later';
comment on column bi.post_conversion_history.post_id is 'Post';
comment on column bi.post_conversion_history.action is 'like, share, comment or hide; none that the source never has';
comment on column bi.post_conversion_history.predicted_rate is 'Share of the views in its first 7 days that end in the action, as predicted from text, picture and what is known when it is published; calibrated';
comment on column bi.post_conversion_history.predicted_low is 'Lower end of the 95 % interval of the post''s true rate, before any view';
comment on column bi.post_conversion_history.predicted_high is 'Upper end of it';
comment on column bi.post_conversion_history.views is 'Views so far';
comment on column bi.post_conversion_history.observed_rate is 'Share of the views so far that ended in the action; null without a view';
comment on column bi.post_conversion_history.expected_rate is 'Rate to expect, of prediction and views so far, each by its weight: what to rank by';
comment on column bi.post_conversion_history.picture_added is 'By how much the picture raises predicted_rate, against the same post without one; null where it has none, or what serves reads none';
comment on column bi.post_conversion_history.reasons is 'What moved the prediction most: feature and signed contribution to its log-odds, largest first; null where a forest, a network or a plain rate serves';
comment on column bi.post_conversion_history.reason_rest is 'What is left: contributions and this sum to the log-odds of predicted_rate; null without reasons';
comment on column bi.post_conversion_history.model_version is 'Version that made the row; see ops.model_version';
comment on view bi.post_conversion is 'Rates of each post and action, of the newest published day';
comment on column bi.post_conversion.as_of is 'Day the row is for; it knows nothing later';
comment on column bi.post_conversion.post_id is 'Post';
comment on column bi.post_conversion.action is 'like, share, comment or hide; none that the source never has';
comment on column bi.post_conversion.predicted_rate is 'Share of the views in its first 7 days that end in the action, as predicted from text, picture and what is known when it is published; calibrated';
comment on column bi.post_conversion.predicted_low is 'Lower end of the 95 % interval of the post''s true rate, before any view';
comment on column bi.post_conversion.predicted_high is 'Upper end of it';
comment on column bi.post_conversion.views is 'Views so far';
comment on column bi.post_conversion.observed_rate is 'Share of the views so far that ended in the action; null without a view';
comment on column bi.post_conversion.expected_rate is 'Rate to expect, of prediction and views so far, each by its weight: what to rank by';
comment on column bi.post_conversion.picture_added is 'By how much the picture raises predicted_rate, against the same post without one; null where it has none, or what serves reads none';
comment on column bi.post_conversion.reasons is 'What moved the prediction most: feature and signed contribution to its log-odds, largest first; null where a forest, a network or a plain rate serves';
comment on column bi.post_conversion.reason_rest is 'What is left: contributions and this sum to the log-odds of predicted_rate; null without reasons';
comment on column bi.post_conversion.model_version is 'Version that made the row; see ops.model_version';
comment on view bi.post_conversion_experiments is 'Each training''s candidates on the same later posts, with and without pictures';
comment on column bi.post_conversion_experiments.model_version is 'Version that was chosen from these candidates';
comment on column bi.post_conversion_experiments.as_of is 'Day it was trained for';
comment on column bi.post_conversion_experiments.action is 'like, share, comment or hide';
comment on column bi.post_conversion_experiments.model is 'linear (least squares), ridge, forest, catboost, hybrid (network that joins text and picture), global_rate, topic_rate';
comment on column bi.post_conversion_experiments.text is 'What the text is read by: tfidf, svd (tfidf, reduced), neural (the feed''s encoder), sentence (the configured encoder), none';
comment on column bi.post_conversion_experiments.with_pictures is 'Whether the picture is read';
comment on column bi.post_conversion_experiments.serves is 'Whether it serves the action';
comment on column bi.post_conversion_experiments.held_log_loss is 'Log-loss of a view of the later posts that the choice is made by';
comment on column bi.post_conversion_experiments.held_posts is 'Posts that it is of';
comment on column bi.post_conversion_experiments.log_loss is 'Log-loss of a view of the gate''s posts, published after all that was fitted or chosen by';
comment on column bi.post_conversion_experiments.log_loss_low is 'Lower end of its 95 % interval, by post';
comment on column bi.post_conversion_experiments.log_loss_high is 'Upper end of its 95 % interval, by post';
comment on column bi.post_conversion_experiments.spearman is 'Rank correlation of predicted and observed rates; 0 where all are predicted alike, null where it says nothing';
comment on column bi.post_conversion_experiments.spearman_within is 'The same within each topic, the mean by posts: much of a headline figure is only what or who was posted';
comment on column bi.post_conversion_experiments.absolute_error is 'Mean distance of predicted and observed rate, by views';
comment on column bi.post_conversion_experiments.calibration_error is 'Mean distance of predicted and observed rate of tenths of the views, by predicted rate';
comment on column bi.post_conversion_experiments.top_decile_lift is 'Rate of the tenth of posts predicted highest, by that of all';
comment on column bi.post_conversion_experiments.interval_coverage is 'Share of posts whose count lies within the 95 % interval of its prediction; of what serves';
comment on column bi.post_conversion_experiments.picture_gain is 'How much less a view loses with pictures than without, the same model on the same posts; null for those without';
comment on column bi.post_conversion_experiments.picture_gain_low is 'Lower end of its paired 95 % interval, by post';
comment on column bi.post_conversion_experiments.picture_gain_high is 'Upper end of it';
comment on column bi.post_conversion_experiments.posts is 'Posts of the gate';
comment on column bi.post_conversion_experiments.views is 'Their views';
comment on view bi.post_value is 'What a view of each post is worth, in likes, by version of the weights; newest published day';
comment on column bi.post_value.as_of is 'Day the row is for';
comment on column bi.post_value.post_id is 'Post';
comment on column bi.post_value.weights_version is 'Version of the weights; ops.post_value_weight has them';
comment on column bi.post_value.value is 'Sum of the actions'' expected rates by their weights';
comment on column bi.post_value.predicted_value is 'The same of the predicted rates: what the post was worth before anybody saw it';

do $$
declare
    told regclass;
    said text;
begin
    foreach told in array array['ops.evaluation', 'bi.model_quality']::regclass[]
    loop
        select col_description(told, attnum) into said
        from pg_attribute where attrelid = told and attname = 'metric';
        execute format(
            'comment on column %s.metric is %L', told,
            said || '. Of post_conversion: view_log_loss, the log-loss of all that became of a view,'
            ' and the same of each action, like_log_loss and so on, lower is better; matured also'
            ' the other figures of bi.post_conversion_experiments, by action'
        );
    end loop;
end
$$;
