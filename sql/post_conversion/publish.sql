-- post_conversion, one day as it is published
-- Grain:         one row per post and action scored; key post_id, action
-- Inputs:        staged (the day's scored parts)
-- Output:        the columns of result.post_conversion
-- Point in time: the parts were scored as of as_of
-- Parameters:    as_of date, model_version text
select
    cast(:as_of as date) as as_of,
    post_id,
    action,
    predicted_rate,
    predicted_low,
    predicted_high,
    views,
    observed_rate,
    expected_rate,
    picture_added,
    reason_features,
    reason_contributions,
    reason_rest,
    cast(:model_version as text) as model_version
from staged
