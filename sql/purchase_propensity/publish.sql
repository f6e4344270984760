-- purchase_propensity, one day as it is published
-- Grain:         one row per client scored; key client_id
-- Inputs:        staged (the day's scored parts)
-- Output:        the columns of result.purchase_propensity
-- Point in time: none of its own: the parts were scored as of as_of
-- Parameters:    as_of date, model_version text
select
    cast(:as_of as date) as as_of,
    client_id,
    probability,
    cast(ntile(10) over (order by probability desc, client_id asc) as smallint) as decile,
    expected_spend_90d,
    reason_features,
    reason_values,
    reason_contributions,
    reason_rest,
    cast(:model_version as text) as model_version
from staged
