-- Demo summary: the test arm against the control, on what users were shown and did
-- Grain:         one row per metric, the one that decides first
-- Inputs:        bi.experiment_result
-- Output:        metric, control and test (its values), difference with its 95 % interval, p, users,
--                verdict
-- Point in time: the newest published day; it counts the days before
-- Parameters:    none
select
    metric || case when is_primary then ' *' else '' end as metric,
    to_char(value_compared, 'FM0.0000') as control,
    to_char(value, 'FM0.0000') as test,
    to_char(difference, 'FMSG0.0000') as difference,
    to_char(low, 'FMSG0.0000') || ' to ' || to_char(high, 'FMSG0.0000') as interval_95,
    case when p_value < 0.001 then '<.001' else to_char(p_value, 'FM0.000') end as p,
    users + users_compared as users,
    verdict
from bi.experiment_result
where experiment = 'feed' and compared_with = 'control' and arm = 'test'
order by
    is_primary desc,
    metric asc
