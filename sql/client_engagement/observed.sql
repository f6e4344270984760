-- client_engagement, a published day beside what then happened
-- Grain:         one row per client published that day; key client_id
-- Inputs:        result.client_engagement, feature.message_day
-- Output:        client_id, decile, score (the published probability), flagged (engaged, as
--                published), label (0 or 1)
-- Point in time: labels see [published, published + horizon_days) as known by known_by
-- Parameters:    published date, horizon_days integer, engaged_by text[], known_by date
with engaged as (
    select distinct client_id
    from feature.message_day
    where
        event_day >= cast(:published as date)
        and event_day < cast(:published as date) + cast(:horizon_days as integer)
        and known_from <= cast(:known_by as date)
        and known_to > cast(:known_by as date)
        and (
            ('open' = any(cast(:engaged_by as text[])) and opens > 0)
            or ('click' = any(cast(:engaged_by as text[])) and clicks > 0)
        )
)

select
    scored.client_id,
    scored.decile,
    cast(scored.probability as double precision) as score,
    scored.engaged as flagged,
    cast(engaged.client_id is not null as integer) as label
from result.client_engagement as scored
left join engaged on scored.client_id = engaged.client_id
where scored.as_of = cast(:published as date)
order by scored.client_id
