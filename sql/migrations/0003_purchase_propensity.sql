-- purchase_propensity: the chance that a client buys within 90 days, and why.

create table result.purchase_propensity (
    as_of date not null,
    client_id bigint not null,
    probability real not null check (probability > 0 and probability < 1),
    decile smallint not null check (decile between 1 and 10),
    expected_spend_90d real check (expected_spend_90d >= 0),
    reason_features text[] not null,
    reason_values real[] not null,
    reason_contributions real[] not null,
    reason_rest real not null,
    model_version text not null,
    primary key (as_of, client_id),
    check (cardinality(reason_features) = cardinality(reason_values)),
    check (cardinality(reason_features) = cardinality(reason_contributions))
) partition by range (as_of);
comment on table result.purchase_propensity is 'Chance of a purchase within 90 days, one row per as_of and client';
comment on column result.purchase_propensity.as_of is 'Day the score is for; it knows nothing later';
comment on column result.purchase_propensity.client_id is 'Client';
comment on column result.purchase_propensity.probability is 'Chance of at least one purchase in the 90 days from as_of on, calibrated';
comment on column result.purchase_propensity.decile is '1 for the tenth of clients with the highest chance, 10 for the lowest; ties by client';
comment on column result.purchase_propensity.expected_spend_90d is 'Expected spend in those 90 days, in the shop''s currency; null where no model is good enough';
comment on column result.purchase_propensity.reason_features is 'The five features that moved this score most';
comment on column result.purchase_propensity.reason_values is 'Their values';
comment on column result.purchase_propensity.reason_contributions is 'Their signed contributions to the log-odds';
comment on column result.purchase_propensity.reason_rest is 'All else: contributions + rest = log-odds of probability';
comment on column result.purchase_propensity.model_version is 'Version that made the row; see ops.model_version';

create table result.purchase_propensity_deciles (
    as_of date not null,
    decile smallint not null check (decile between 1 and 10),
    clients integer not null check (clients > 0),
    predicted double precision not null check (predicted >= 0),
    observed bigint,
    model_version text not null,
    primary key (as_of, decile)
);
comment on table result.purchase_propensity_deciles is 'Predicted against observed buyers by decile; observed once the 90 days have passed';
comment on column result.purchase_propensity_deciles.as_of is 'Published day';
comment on column result.purchase_propensity_deciles.decile is '1 has the highest chances';
comment on column result.purchase_propensity_deciles.clients is 'Clients in the decile';
comment on column result.purchase_propensity_deciles.predicted is 'Buyers expected: the sum of probabilities';
comment on column result.purchase_propensity_deciles.observed is 'Clients who bought within 90 days; null until that is known';
comment on column result.purchase_propensity_deciles.model_version is 'Version that made the scores';

alter table result.purchase_propensity owner to nightshift;
alter table result.purchase_propensity_deciles owner to nightshift;
insert into ops.result_table (table_name, job, inputs, horizon_days)
values (
    'result.purchase_propensity',
    'purchase_propensity',
    '{apparel_purchases,apparel_messages}',
    90
);
grant select on result.purchase_propensity, result.purchase_propensity_deciles to migrator;

create view bi.purchase_propensity_history as
select
    scored.as_of,
    scored.client_id,
    scored.probability,
    scored.decile,
    scored.expected_spend_90d,
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
from result.purchase_propensity as scored
where exists (
    select from ops.publication
    where
        publication.table_name = 'result.purchase_propensity'
        and publication.as_of = scored.as_of
);
comment on view bi.purchase_propensity_history is 'Purchase scores of every published day';
comment on column bi.purchase_propensity_history.as_of is 'Day the score is for; it knows nothing later';
comment on column bi.purchase_propensity_history.client_id is 'Client';
comment on column bi.purchase_propensity_history.probability is 'Chance of at least one purchase in the 90 days from as_of on, calibrated';
comment on column bi.purchase_propensity_history.decile is '1 for the tenth of clients with the highest chance, 10 for the lowest; ties by client';
comment on column bi.purchase_propensity_history.expected_spend_90d is 'Expected spend in those 90 days, in the shop''s currency; null where no model is good enough';
comment on column bi.purchase_propensity_history.reasons is 'Top five features: value and signed contribution to the log-odds';
comment on column bi.purchase_propensity_history.reason_rest is 'All else: contributions + rest = log-odds of probability';
comment on column bi.purchase_propensity_history.model_version is 'Version that made the row';

create view bi.purchase_propensity as
select history.*
from bi.purchase_propensity_history as history
where
    history.as_of = (
        select max(publication.as_of) from ops.publication
        where publication.table_name = 'result.purchase_propensity'
    );
comment on view bi.purchase_propensity is 'Purchase scores of the newest published day';
comment on column bi.purchase_propensity.as_of is 'Day the score is for; it knows nothing later';
comment on column bi.purchase_propensity.client_id is 'Client';
comment on column bi.purchase_propensity.probability is 'Chance of at least one purchase in the 90 days from as_of on, calibrated';
comment on column bi.purchase_propensity.decile is '1 for the tenth of clients with the highest chance, 10 for the lowest; ties by client';
comment on column bi.purchase_propensity.expected_spend_90d is 'Expected spend in those 90 days, in the shop''s currency; null where no model is good enough';
comment on column bi.purchase_propensity.reasons is 'Top five features: value and signed contribution to the log-odds';
comment on column bi.purchase_propensity.reason_rest is 'All else: contributions + rest = log-odds of probability';
comment on column bi.purchase_propensity.model_version is 'Version that made the row';

create view bi.purchase_propensity_deciles as
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
from result.purchase_propensity_deciles as deciles
where
    exists (
        select from ops.publication
        where
            publication.table_name = 'result.purchase_propensity'
            and publication.as_of = deciles.as_of
    )
window
    every as (partition by deciles.as_of),
    up_to as (partition by deciles.as_of order by deciles.decile);
comment on view bi.purchase_propensity_deciles is 'Predicted against observed buyers by decile and published day';
comment on column bi.purchase_propensity_deciles.as_of is 'Published day';
comment on column bi.purchase_propensity_deciles.decile is '1 has the highest chances';
comment on column bi.purchase_propensity_deciles.clients is 'Clients in the decile';
comment on column bi.purchase_propensity_deciles.predicted is 'Buyers expected: the sum of probabilities';
comment on column bi.purchase_propensity_deciles.predicted_rate is 'predicted / clients';
comment on column bi.purchase_propensity_deciles.observed is 'Clients who bought within 90 days; null until that is known';
comment on column bi.purchase_propensity_deciles.observed_rate is 'observed / clients';
comment on column bi.purchase_propensity_deciles.lift is 'observed rate against the rate of all clients';
comment on column bi.purchase_propensity_deciles.cumulative_gain is 'Share of all buyers found down to this decile';
comment on column bi.purchase_propensity_deciles.model_version is 'Version that made the scores';
