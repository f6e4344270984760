-- client_engagement: the chance that a client answers a message, who is worth one, and why.

-- When a client answers -------------------------------------------------------------------------

alter table feature.message_day add column answer_hours smallint[] not null default '{}';
comment on column feature.message_day.answer_hours is 'UTC hours of the opens and clicks, in order; empty for days that were loaded before this column was there';

-- Result ----------------------------------------------------------------------------------------

create table result.client_engagement (
    as_of date not null,
    client_id bigint not null,
    probability real not null check (probability > 0 and probability < 1),
    engaged boolean not null,
    decile smallint not null check (decile between 1 and 10),
    best_channel text,
    best_channel_answers integer not null check (best_channel_answers >= 0),
    best_hour smallint check (best_hour between 0 and 23),
    best_hour_answers integer not null check (best_hour_answers >= 0),
    reason_features text[] not null,
    reason_values real[] not null,
    reason_contributions real[] not null,
    reason_rest real not null,
    model_version text not null,
    primary key (as_of, client_id),
    check (cardinality(reason_features) = cardinality(reason_values)),
    check (cardinality(reason_features) = cardinality(reason_contributions))
) partition by range (as_of);
comment on table result.client_engagement is 'Chance that a client clicks on a message within 14 days, one row per as_of and client';
comment on column result.client_engagement.as_of is 'Day the score is for; it knows nothing later';
comment on column result.client_engagement.client_id is 'Client';
comment on column result.client_engagement.probability is 'Chance of at least one click on a message in the 14 days from as_of on, calibrated';
comment on column result.client_engagement.engaged is 'Whether the client is worth a message: probability at or above the version''s threshold, or among the best of its budget (bi.client_engagement_threshold)';
comment on column result.client_engagement.decile is '1 for the tenth of clients with the highest chance, 10 for the lowest; ties by client';
comment on column result.client_engagement.best_channel is 'Channel that the client answers best, of 180 days: opens and clicks per message, few messages weighed with what is usual; null without an answer';
comment on column result.client_engagement.best_channel_answers is 'Opens and clicks in that channel that this rests on';
comment on column result.client_engagement.best_hour is 'UTC hour with most of the client''s opens and clicks, of 180 days; the earliest of equals; null without one';
comment on column result.client_engagement.best_hour_answers is 'Opens and clicks in that hour that this rests on';
comment on column result.client_engagement.reason_features is 'The five features that moved this score most';
comment on column result.client_engagement.reason_values is 'Their values';
comment on column result.client_engagement.reason_contributions is 'Their signed contributions to the log-odds';
comment on column result.client_engagement.reason_rest is 'All else: contributions + rest = log-odds of probability';
comment on column result.client_engagement.model_version is 'Version that made the row; see ops.model_version';
alter table result.client_engagement owner to nightshift;
grant select on result.client_engagement to migrator;
insert into ops.result_table (table_name, job, inputs, horizon_days)
values (
    'result.client_engagement',
    'client_engagement',
    '{apparel_purchases,apparel_messages}',
    14
);

-- What each way of handling imbalance does ------------------------------------------------------

create table result.client_engagement_bench (
    model_version text not null,
    as_of date not null,
    model text not null,
    handling text not null,
    vectors boolean not null,
    chosen boolean not null,
    selection_pr_auc double precision,
    selection_brier double precision,
    roc_auc double precision,
    roc_auc_low double precision,
    roc_auc_high double precision,
    pr_auc double precision,
    pr_auc_low double precision,
    pr_auc_high double precision,
    brier double precision,
    brier_low double precision,
    brier_high double precision,
    brier_raw double precision,
    brier_raw_low double precision,
    brier_raw_high double precision,
    ece double precision,
    ece_low double precision,
    ece_high double precision,
    ece_raw double precision,
    ece_raw_low double precision,
    ece_raw_high double precision,
    precision double precision,
    precision_low double precision,
    precision_high double precision,
    recall double precision,
    recall_low double precision,
    recall_high double precision,
    f1 double precision,
    f1_low double precision,
    f1_high double precision,
    threshold double precision not null,
    flagged integer not null,
    accuracy double precision not null,
    accuracy_of_no double precision not null,
    rows integer not null,
    positives integer not null,
    fit_rows integer not null,
    seconds real not null,
    primary key (model_version, model, handling, vectors)
);
comment on table result.client_engagement_bench is 'Each training''s candidates on the same rows: what each way of handling imbalance does';
comment on column result.client_engagement_bench.model_version is 'Version that was chosen from these candidates, see ops.model_version; flat-... of a file that was loaded';
comment on column result.client_engagement_bench.as_of is 'Day it was trained for; of a file, the day that its labels stand on';
comment on column result.client_engagement_bench.model is 'logistic, catboost or forest; always_no';
comment on column result.client_engagement_bench.handling is 'How imbalance was handled: none, class_weights, oversampling, smote_nc, adasyn, undersampling or focal';
comment on column result.client_engagement_bench.vectors is 'Whether Word2Vec vectors of categories and touches were features';
comment on column result.client_engagement_bench.chosen is 'Whether this one was chosen; it is fitted again on all rows, and tested at the gate';
comment on column result.client_engagement_bench.selection_pr_auc is 'PR AUC on the validation rows, by which the choice is made';
comment on column result.client_engagement_bench.selection_brier is 'Brier score on the validation rows, which decides among those whose PR AUC is not surely less';
comment on column result.client_engagement_bench.roc_auc is 'ROC AUC';
comment on column result.client_engagement_bench.roc_auc_low is 'ROC AUC: lower end of the 95 % interval';
comment on column result.client_engagement_bench.roc_auc_high is 'ROC AUC: upper end of the 95 % interval';
comment on column result.client_engagement_bench.pr_auc is 'PR AUC, average precision';
comment on column result.client_engagement_bench.pr_auc_low is 'PR AUC, average precision: lower end of the 95 % interval';
comment on column result.client_engagement_bench.pr_auc_high is 'PR AUC, average precision: upper end of the 95 % interval';
comment on column result.client_engagement_bench.brier is 'Brier score, calibrated';
comment on column result.client_engagement_bench.brier_low is 'Brier score, calibrated: lower end of the 95 % interval';
comment on column result.client_engagement_bench.brier_high is 'Brier score, calibrated: upper end of the 95 % interval';
comment on column result.client_engagement_bench.brier_raw is 'Brier score of the model''s own probabilities, before calibration';
comment on column result.client_engagement_bench.brier_raw_low is 'Brier score of the model''s own probabilities, before calibration: lower end of the 95 % interval';
comment on column result.client_engagement_bench.brier_raw_high is 'Brier score of the model''s own probabilities, before calibration: upper end of the 95 % interval';
comment on column result.client_engagement_bench.ece is 'Expected calibration error, calibrated';
comment on column result.client_engagement_bench.ece_low is 'Expected calibration error, calibrated: lower end of the 95 % interval';
comment on column result.client_engagement_bench.ece_high is 'Expected calibration error, calibrated: upper end of the 95 % interval';
comment on column result.client_engagement_bench.ece_raw is 'Expected calibration error before calibration';
comment on column result.client_engagement_bench.ece_raw_low is 'Expected calibration error before calibration: lower end of the 95 % interval';
comment on column result.client_engagement_bench.ece_raw_high is 'Expected calibration error before calibration: upper end of the 95 % interval';
comment on column result.client_engagement_bench.precision is 'Of the clients said to engage, the share who did';
comment on column result.client_engagement_bench.precision_low is 'Of the clients said to engage, the share who did: lower end of the 95 % interval';
comment on column result.client_engagement_bench.precision_high is 'Of the clients said to engage, the share who did: upper end of the 95 % interval';
comment on column result.client_engagement_bench.recall is 'Of the clients who engaged, the share that was said to';
comment on column result.client_engagement_bench.recall_low is 'Of the clients who engaged, the share that was said to: lower end of the 95 % interval';
comment on column result.client_engagement_bench.recall_high is 'Of the clients who engaged, the share that was said to: upper end of the 95 % interval';
comment on column result.client_engagement_bench.f1 is 'Harmonic mean of precision and recall';
comment on column result.client_engagement_bench.f1_low is 'Harmonic mean of precision and recall: lower end of the 95 % interval';
comment on column result.client_engagement_bench.f1_high is 'Harmonic mean of precision and recall: upper end of the 95 % interval';
comment on column result.client_engagement_bench.threshold is 'Probability from which a client is said to engage, chosen on held-out rows; 1 where the aim can''t be met';
comment on column result.client_engagement_bench.flagged is 'Clients said to engage, of rows';
comment on column result.client_engagement_bench.accuracy is 'Share of right answers at the threshold; it says nothing here, compare accuracy_of_no';
comment on column result.client_engagement_bench.accuracy_of_no is 'Accuracy of always answering no';
comment on column result.client_engagement_bench.rows is 'Clients measured on: those of the gate, none of whom any candidate was fitted, chosen or calibrated on at that time';
comment on column result.client_engagement_bench.positives is 'Of them, who engaged';
comment on column result.client_engagement_bench.fit_rows is 'Rows that every candidate was fitted on, before resampling';
comment on column result.client_engagement_bench.seconds is 'Time to fit';
alter table result.client_engagement_bench owner to nightshift;
grant select on result.client_engagement_bench to migrator;

create view bi.client_engagement_bench as
select
    model_version,
    as_of,
    model,
    handling,
    vectors,
    chosen,
    selection_pr_auc,
    selection_brier,
    roc_auc,
    roc_auc_low,
    roc_auc_high,
    pr_auc,
    pr_auc_low,
    pr_auc_high,
    brier,
    brier_low,
    brier_high,
    brier_raw,
    brier_raw_low,
    brier_raw_high,
    ece,
    ece_low,
    ece_high,
    ece_raw,
    ece_raw_low,
    ece_raw_high,
    precision,
    precision_low,
    precision_high,
    recall,
    recall_low,
    recall_high,
    f1,
    f1_low,
    f1_high,
    threshold,
    flagged,
    accuracy,
    accuracy_of_no,
    rows,
    positives,
    fit_rows,
    seconds
from result.client_engagement_bench;
comment on view bi.client_engagement_bench is 'Each training''s candidates on the same rows: what each way of handling imbalance does';
comment on column bi.client_engagement_bench.model_version is 'Version that was chosen from these candidates, see ops.model_version; flat-... of a file that was loaded';
comment on column bi.client_engagement_bench.as_of is 'Day it was trained for; of a file, the day that its labels stand on';
comment on column bi.client_engagement_bench.model is 'logistic, catboost or forest; always_no';
comment on column bi.client_engagement_bench.handling is 'How imbalance was handled: none, class_weights, oversampling, smote_nc, adasyn, undersampling or focal';
comment on column bi.client_engagement_bench.vectors is 'Whether Word2Vec vectors of categories and touches were features';
comment on column bi.client_engagement_bench.chosen is 'Whether this one was chosen; it is fitted again on all rows, and tested at the gate';
comment on column bi.client_engagement_bench.selection_pr_auc is 'PR AUC on the validation rows, by which the choice is made';
comment on column bi.client_engagement_bench.selection_brier is 'Brier score on the validation rows, which decides among those whose PR AUC is not surely less';
comment on column bi.client_engagement_bench.roc_auc is 'ROC AUC';
comment on column bi.client_engagement_bench.roc_auc_low is 'ROC AUC: lower end of the 95 % interval';
comment on column bi.client_engagement_bench.roc_auc_high is 'ROC AUC: upper end of the 95 % interval';
comment on column bi.client_engagement_bench.pr_auc is 'PR AUC, average precision';
comment on column bi.client_engagement_bench.pr_auc_low is 'PR AUC, average precision: lower end of the 95 % interval';
comment on column bi.client_engagement_bench.pr_auc_high is 'PR AUC, average precision: upper end of the 95 % interval';
comment on column bi.client_engagement_bench.brier is 'Brier score, calibrated';
comment on column bi.client_engagement_bench.brier_low is 'Brier score, calibrated: lower end of the 95 % interval';
comment on column bi.client_engagement_bench.brier_high is 'Brier score, calibrated: upper end of the 95 % interval';
comment on column bi.client_engagement_bench.brier_raw is 'Brier score of the model''s own probabilities, before calibration';
comment on column bi.client_engagement_bench.brier_raw_low is 'Brier score of the model''s own probabilities, before calibration: lower end of the 95 % interval';
comment on column bi.client_engagement_bench.brier_raw_high is 'Brier score of the model''s own probabilities, before calibration: upper end of the 95 % interval';
comment on column bi.client_engagement_bench.ece is 'Expected calibration error, calibrated';
comment on column bi.client_engagement_bench.ece_low is 'Expected calibration error, calibrated: lower end of the 95 % interval';
comment on column bi.client_engagement_bench.ece_high is 'Expected calibration error, calibrated: upper end of the 95 % interval';
comment on column bi.client_engagement_bench.ece_raw is 'Expected calibration error before calibration';
comment on column bi.client_engagement_bench.ece_raw_low is 'Expected calibration error before calibration: lower end of the 95 % interval';
comment on column bi.client_engagement_bench.ece_raw_high is 'Expected calibration error before calibration: upper end of the 95 % interval';
comment on column bi.client_engagement_bench.precision is 'Of the clients said to engage, the share who did';
comment on column bi.client_engagement_bench.precision_low is 'Of the clients said to engage, the share who did: lower end of the 95 % interval';
comment on column bi.client_engagement_bench.precision_high is 'Of the clients said to engage, the share who did: upper end of the 95 % interval';
comment on column bi.client_engagement_bench.recall is 'Of the clients who engaged, the share that was said to';
comment on column bi.client_engagement_bench.recall_low is 'Of the clients who engaged, the share that was said to: lower end of the 95 % interval';
comment on column bi.client_engagement_bench.recall_high is 'Of the clients who engaged, the share that was said to: upper end of the 95 % interval';
comment on column bi.client_engagement_bench.f1 is 'Harmonic mean of precision and recall';
comment on column bi.client_engagement_bench.f1_low is 'Harmonic mean of precision and recall: lower end of the 95 % interval';
comment on column bi.client_engagement_bench.f1_high is 'Harmonic mean of precision and recall: upper end of the 95 % interval';
comment on column bi.client_engagement_bench.threshold is 'Probability from which a client is said to engage, chosen on held-out rows; 1 where the aim can''t be met';
comment on column bi.client_engagement_bench.flagged is 'Clients said to engage, of rows';
comment on column bi.client_engagement_bench.accuracy is 'Share of right answers at the threshold; it says nothing here, compare accuracy_of_no';
comment on column bi.client_engagement_bench.accuracy_of_no is 'Accuracy of always answering no';
comment on column bi.client_engagement_bench.rows is 'Clients measured on: those of the gate, none of whom any candidate was fitted, chosen or calibrated on at that time';
comment on column bi.client_engagement_bench.positives is 'Of them, who engaged';
comment on column bi.client_engagement_bench.fit_rows is 'Rows that every candidate was fitted on, before resampling';
comment on column bi.client_engagement_bench.seconds is 'Time to fit';

create table result.client_engagement_vif (
    model_version text not null,
    as_of date not null,
    feature text not null,
    vif double precision,
    dropped smallint,
    primary key (model_version, feature)
);
comment on table result.client_engagement_vif is 'Multicollinearity of each training: what was dropped, and why';
comment on column result.client_engagement_vif.model_version is 'Version trained without the dropped ones';
comment on column result.client_engagement_vif.as_of is 'Day it was trained for';
comment on column result.client_engagement_vif.feature is 'Number that was tested against all others';
comment on column result.client_engagement_vif.vif is 'Variance inflation factor: when it was dropped, else among those that were kept; infinite if the others determine it, null if it never varies';
comment on column result.client_engagement_vif.dropped is 'Order in which it was dropped, 1 first; null if it was kept';
alter table result.client_engagement_vif owner to nightshift;
grant select on result.client_engagement_vif to migrator;

create view bi.client_engagement_vif as
select
    model_version,
    as_of,
    feature,
    vif,
    dropped
from result.client_engagement_vif;
comment on view bi.client_engagement_vif is 'Multicollinearity of each training: what was dropped, and why';
comment on column bi.client_engagement_vif.model_version is 'Version trained without the dropped ones';
comment on column bi.client_engagement_vif.as_of is 'Day it was trained for';
comment on column bi.client_engagement_vif.feature is 'Number that was tested against all others';
comment on column bi.client_engagement_vif.vif is 'Variance inflation factor: when it was dropped, else among those that were kept; infinite if the others determine it, null if it never varies';
comment on column bi.client_engagement_vif.dropped is 'Order in which it was dropped, 1 first; null if it was kept';

create view bi.client_engagement_threshold as
select
    version.model_version,
    version.as_of,
    version.name as model,
    version.params ->> 'aim' as aim,
    (version.params ->> 'threshold')::double precision as threshold,
    (version.params ->> 'budget')::bigint as budget,
    (version.params ->> 'precision')::double precision as precision,
    (version.params ->> 'precision_low')::double precision as precision_low,
    (version.params ->> 'precision_high')::double precision as precision_high,
    (version.params ->> 'recall')::double precision as recall,
    (version.params ->> 'recall_low')::double precision as recall_low,
    (version.params ->> 'recall_high')::double precision as recall_high
from ops.model_version as version
where version.job = 'client_engagement';
comment on view bi.client_engagement_threshold is 'What each version promised: who it says will engage, and how often that was right on held-out rows; bi.model_quality has what became of it';
comment on column bi.client_engagement_threshold.model_version is 'Version';
comment on column bi.client_engagement_threshold.as_of is 'Day it was trained for';
comment on column bi.client_engagement_threshold.model is 'Model and handling, or baseline';
comment on column bi.client_engagement_threshold.aim is 'What the threshold was chosen for: precision at least, a budget of clients, or the best value';
comment on column bi.client_engagement_threshold.threshold is 'Probability from which a client is engaged; 1 where the aim can''t be met';
comment on column bi.client_engagement_threshold.budget is 'Clients to name, for a budget; else null';
comment on column bi.client_engagement_threshold.precision is 'Promised: share of those named who engage';
comment on column bi.client_engagement_threshold.precision_low is 'Lower end of its 95 % interval';
comment on column bi.client_engagement_threshold.precision_high is 'Upper end of its 95 % interval';
comment on column bi.client_engagement_threshold.recall is 'Promised: share of those who engage that are named';
comment on column bi.client_engagement_threshold.recall_low is 'Lower end of its 95 % interval';
comment on column bi.client_engagement_threshold.recall_high is 'Upper end of its 95 % interval';

create view bi.client_engagement_history as
select
    scored.as_of,
    scored.client_id,
    scored.probability,
    scored.engaged,
    scored.decile,
    scored.best_channel,
    scored.best_channel_answers,
    scored.best_hour,
    scored.best_hour_answers,
    (
        select
            jsonb_agg(
                jsonb_build_object(
                    'feature', reason.feature,
                    'value', reason.value,
                    'contribution', reason.contribution
                )
                order by reason.rank
            )
        from
            unnest(scored.reason_features, scored.reason_values, scored.reason_contributions)
            with ordinality as reason (feature, value, contribution, rank)
    ) as reasons,
    scored.reason_rest,
    scored.model_version
from result.client_engagement as scored
where exists (
    select from ops.publication
    where
        publication.table_name = 'result.client_engagement'
        and publication.as_of = scored.as_of
);

create view bi.client_engagement as
select history.*
from bi.client_engagement_history as history
where
    history.as_of = (
        select max(publication.as_of) from ops.publication
        where publication.table_name = 'result.client_engagement'
    );
comment on view bi.client_engagement_history is 'Engagement scores of every published day';
comment on column bi.client_engagement_history.as_of is 'Day the score is for; it knows nothing later';
comment on column bi.client_engagement_history.client_id is 'Client';
comment on column bi.client_engagement_history.probability is 'Chance of at least one click on a message in the 14 days from as_of on, calibrated';
comment on column bi.client_engagement_history.engaged is 'Whether the client is worth a message: probability at or above the version''s threshold, or among the best of its budget (bi.client_engagement_threshold)';
comment on column bi.client_engagement_history.decile is '1 for the tenth of clients with the highest chance, 10 for the lowest; ties by client';
comment on column bi.client_engagement_history.best_channel is 'Channel that the client answers best, of 180 days: opens and clicks per message, few messages weighed with what is usual; null without an answer';
comment on column bi.client_engagement_history.best_channel_answers is 'Opens and clicks in that channel that this rests on';
comment on column bi.client_engagement_history.best_hour is 'UTC hour with most of the client''s opens and clicks, of 180 days; the earliest of equals; null without one';
comment on column bi.client_engagement_history.best_hour_answers is 'Opens and clicks in that hour that this rests on';
comment on column bi.client_engagement_history.reasons is 'Top five features: value (null: there is none, or it is a word) and signed contribution to the log-odds';
comment on column bi.client_engagement_history.reason_rest is 'All else: contributions + rest = log-odds of probability';
comment on column bi.client_engagement_history.model_version is 'Version that made the row';
comment on view bi.client_engagement is 'Engagement scores of the newest published day';
comment on column bi.client_engagement.as_of is 'Day the score is for; it knows nothing later';
comment on column bi.client_engagement.client_id is 'Client';
comment on column bi.client_engagement.probability is 'Chance of at least one click on a message in the 14 days from as_of on, calibrated';
comment on column bi.client_engagement.engaged is 'Whether the client is worth a message: probability at or above the version''s threshold, or among the best of its budget (bi.client_engagement_threshold)';
comment on column bi.client_engagement.decile is '1 for the tenth of clients with the highest chance, 10 for the lowest; ties by client';
comment on column bi.client_engagement.best_channel is 'Channel that the client answers best, of 180 days: opens and clicks per message, few messages weighed with what is usual; null without an answer';
comment on column bi.client_engagement.best_channel_answers is 'Opens and clicks in that channel that this rests on';
comment on column bi.client_engagement.best_hour is 'UTC hour with most of the client''s opens and clicks, of 180 days; the earliest of equals; null without one';
comment on column bi.client_engagement.best_hour_answers is 'Opens and clicks in that hour that this rests on';
comment on column bi.client_engagement.reasons is 'Top five features: value (null: there is none, or it is a word) and signed contribution to the log-odds';
comment on column bi.client_engagement.reason_rest is 'All else: contributions + rest = log-odds of probability';
comment on column bi.client_engagement.model_version is 'Version that made the row';

create view bi.client_engagement_deciles as
select
    deciles.as_of,
    deciles.decile,
    deciles.clients,
    deciles.predicted,
    deciles.predicted / deciles.clients as predicted_rate,
    deciles.observed,
    deciles.observed::double precision / deciles.clients as observed_rate,
    (deciles.observed::double precision / deciles.clients)
    / nullif(
        sum(deciles.observed) over every::double precision / sum(deciles.clients) over every, 0
    ) as lift,
    sum(deciles.observed) over up_to::double precision
    / nullif(sum(deciles.observed) over every, 0) as cumulative_gain,
    deciles.model_version
from result.score_deciles as deciles
where
    deciles.job = 'client_engagement'
    and exists (
        select from ops.publication
        where
            publication.table_name = 'result.client_engagement'
            and publication.as_of = deciles.as_of
    )
window
    every as (partition by deciles.as_of),
    up_to as (partition by deciles.as_of order by deciles.decile);
comment on view bi.client_engagement_deciles is 'Predicted against observed engaged clients by decile and published day';
comment on column bi.client_engagement_deciles.as_of is 'Published day';
comment on column bi.client_engagement_deciles.decile is '1 has the highest chances';
comment on column bi.client_engagement_deciles.clients is 'Clients in the decile';
comment on column bi.client_engagement_deciles.predicted is 'Engaged clients expected: the sum of probabilities';
comment on column bi.client_engagement_deciles.predicted_rate is 'predicted / clients';
comment on column bi.client_engagement_deciles.observed is 'Clients who clicked within 14 days; null until that is known';
comment on column bi.client_engagement_deciles.observed_rate is 'observed / clients';
comment on column bi.client_engagement_deciles.lift is 'observed rate against the rate of all clients';
comment on column bi.client_engagement_deciles.cumulative_gain is 'Share of all engaged clients found down to this decile';
comment on column bi.client_engagement_deciles.model_version is 'Version that made the scores';
