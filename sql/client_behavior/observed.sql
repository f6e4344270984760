-- client_behavior, a published day beside what then happened
-- Grain:         one row per client published that day; key client_id
-- Inputs:        result.client_behavior, feature.step_day
-- Output:        client_id, score (the published chance of a purchase), label (0 or 1)
-- Point in time: labels see [published, published + horizon_days) as known by known_by
-- Parameters:    published date, horizon_days integer, steps text[], known_by date
with bought as (
    select distinct client_id
    from feature.step_day
    where
        event_day >= cast(:published as date)
        and event_day < cast(:published as date) + cast(:horizon_days as integer)
        and known_from <= cast(:known_by as date)
        and known_to > cast(:known_by as date)
        and steps && cast(:steps as text[])
)

select
    stands.client_id,
    cast(stands.purchase_probability as double precision) as score,
    cast(bought.client_id is not null as integer) as label
from result.client_behavior as stands
left join bought on stands.client_id = bought.client_id
where stands.as_of = cast(:published as date)
order by stands.client_id
