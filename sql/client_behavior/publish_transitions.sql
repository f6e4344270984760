-- client_behavior, the transitions of one day as they are published
-- Grain:         one row per segment, from_state and to_state
-- Inputs:        staged
-- Output:        the columns of result.behavior_transition
-- Point in time: counted as of as_of
-- Parameters:    as_of date, model_version text
select
    cast(:as_of as date) as as_of,
    segment,
    from_state,
    to_state,
    transitions,
    from_transitions,
    clients,
    probability,
    low,
    high,
    stationary_share,
    purchase_before_churn,
    steps_to_purchase,
    steps_to_end,
    cast(:model_version as text) as model_version
from staged
