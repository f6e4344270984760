-- experiment publish_result: one day of result.experiment_result as it is published
-- Grain:         one row per experiment, arm, metric
-- Inputs:        staged
-- Output:        the columns of result.experiment_result
-- Point in time: none of its own: the rows were counted as of as_of
-- Parameters:    as_of date, model_version text
select
    cast(:as_of as date) as as_of,
    experiment,
    arm,
    metric,
    compared_with,
    is_primary,
    first_day,
    last_day,
    users,
    users_compared,
    value,
    value_compared,
    difference,
    low,
    high,
    p_value,
    users_in_both,
    sample_ratio_p,
    sample_ratio_alarm,
    verdict,
    cast(:model_version as text) as model_version
from staged
