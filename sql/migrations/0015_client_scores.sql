-- What all jobs that give each client a chance share: deciles in one table, the figures of a yes or
-- no, and studies of the parameters tried.

create table result.score_deciles (
    job text not null,
    as_of date not null,
    decile smallint not null check (decile between 1 and 10),
    clients integer not null check (clients > 0),
    predicted double precision not null check (predicted >= 0),
    observed bigint,
    model_version text not null,
    primary key (job, as_of, decile)
);
comment on table result.score_deciles is 'Predicted against observed positives by decile; observed once the label is mature';
comment on column result.score_deciles.job is 'Job that gave the chances';
comment on column result.score_deciles.as_of is 'Published day';
comment on column result.score_deciles.decile is '1 has the highest chances';
comment on column result.score_deciles.clients is 'Clients in the decile';
comment on column result.score_deciles.predicted is 'Positives expected: the sum of probabilities';
comment on column result.score_deciles.observed is 'Clients whose label turned out positive; null until that is known';
comment on column result.score_deciles.model_version is 'Version that made the scores';

insert into result.score_deciles (
    job, as_of, decile, clients, predicted, observed, model_version
)
select
    'purchase_propensity',
    as_of,
    decile,
    clients,
    predicted,
    observed,
    model_version
from result.purchase_propensity_deciles;
alter table result.score_deciles owner to nightshift;
grant select on result.score_deciles to migrator;

create or replace view bi.purchase_propensity_deciles as
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
    deciles.job = 'purchase_propensity'
    and exists (
        select from ops.publication
        where
            publication.table_name = 'result.purchase_propensity'
            and publication.as_of = deciles.as_of
    )
window
    every as (partition by deciles.as_of),
    up_to as (partition by deciles.as_of order by deciles.decile);

drop table result.purchase_propensity_deciles;

-- What the new figures are called.
comment on column ops.evaluation.metric is 'roc_auc; pr_auc (average precision); brier and ece (expected calibration error, ten bins of equal mass), lower is better; lift (rate among the tenth with the highest probabilities against the rate of all); when matured also predicted_rate (mean probability) and observed_rate (share of positives). Of a yes or no: precision (of those said yes to, the share of positives), recall (of the positives, the share said yes to) and f1, their harmonic mean. Of lists, means over users of 0 to 1: condensed_ndcg@10 (NDCG of the posts that the user viewed, in the list''s order; the gate decides by it, and it is to be compared within one night only); hitrate@5, ndcg@10, map@10, recall@10 on the likes of the next day; the same with last_like_ in front on each held-out user''s last like; coverage@10 (share of the posts that anybody gets); novelty@10 (bits: mean of -log2 of a post''s share of views)';
comment on column bi.model_quality.metric is 'roc_auc; pr_auc (average precision); brier and ece (expected calibration error, ten bins of equal mass), lower is better; lift (rate among the tenth with the highest probabilities against the rate of all); when matured also predicted_rate (mean probability) and observed_rate (share of positives). Of a yes or no: precision (of those said yes to, the share of positives), recall (of the positives, the share said yes to) and f1, their harmonic mean. Of lists, means over users of 0 to 1: condensed_ndcg@10 (NDCG of the posts that the user viewed, in the list''s order; the gate decides by it, and it is to be compared within one night only); hitrate@5, ndcg@10, map@10, recall@10 on the likes of the next day; the same with last_like_ in front on each held-out user''s last like; coverage@10 (share of the posts that anybody gets); novelty@10 (bits: mean of -log2 of a post''s share of views)';

-- Parameters are tried in studies that a killed training goes on with ---------------------------

create schema optuna authorization nightshift;
comment on schema optuna is 'Studies of optuna: parameters tried in trainings; its tables are optuna''s own';
