-- purchase_propensity, a published day beside what then happened
-- Grain:         one row per client published that day; key client_id
-- Inputs:        result.purchase_propensity, feature.purchase_day, raw.apparel_target_binary
-- Output:        client_id, decile, score (the published probability), label (0 or 1)
-- Point in time: labels see [published, published + horizon_days) as known by known_by; the
--                owner's labels go before computed ones, as in dataset.sql
-- Parameters:    published date, horizon_days integer, known_by date
with buyers as (
    select distinct client_id
    from feature.purchase_day
    where
        event_day >= cast(:published as date)
        and event_day < cast(:published as date) + cast(:horizon_days as integer)
        and known_from <= cast(:known_by as date)
        and known_to > cast(:known_by as date)
        and quantity > 0
)

select
    scored.client_id,
    scored.decile,
    cast(scored.probability as double precision) as score,
    coalesce(
        cast(owner_labels.target as integer),
        cast(buyers.client_id is not null as integer)
    ) as label
from result.purchase_propensity as scored
left join buyers on scored.client_id = buyers.client_id
left join raw.apparel_target_binary as owner_labels
    on
        scored.as_of = owner_labels.as_of
        and scored.client_id = owner_labels.client_id
where scored.as_of = cast(:published as date)
order by scored.client_id
