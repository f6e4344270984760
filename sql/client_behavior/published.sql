-- client_behavior, the chances of a published day
-- Grain:         one row per client published that day; key client_id
-- Inputs:        result.client_behavior
-- Output:        client_id, model_version, score (chance of a purchase), score_churn (chance of
--                leaving; null for clients who were gone)
-- Point in time: as it was published
-- Parameters:    published date
select
    client_id,
    model_version,
    cast(purchase_probability as double precision) as score,
    cast(churn_probability as double precision) as score_churn
from result.client_behavior
where as_of = cast(:published as date)
order by client_id
