-- experiment publish_daily: one day of result.experiment_daily as it is published
-- Grain:         one row per experiment, arm
-- Inputs:        staged
-- Output:        the columns of result.experiment_daily
-- Point in time: none of its own: the rows were counted as of as_of
-- Parameters:    as_of date, model_version text
select
    cast(:as_of as date) as as_of,
    experiment,
    arm,
    event_day,
    users,
    impressions,
    views,
    likes,
    like_rate,
    like_rate_low,
    like_rate_high,
    user_like_share,
    user_like_share_low,
    user_like_share_high,
    hitrate_5,
    hitrate_5_low,
    hitrate_5_high,
    users_in_both,
    planned_share,
    sample_ratio_p,
    sample_ratio_alarm,
    cast(:model_version as text) as model_version
from staged
