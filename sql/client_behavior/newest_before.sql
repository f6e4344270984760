-- client_behavior, the newest version of a day before
-- Grain:         one row at most
-- Inputs:        ops.model_version
-- Output:        model_version
-- Point in time: trained for a day before as_of
-- Parameters:    as_of date
select model_version
from ops.model_version
where
    job = 'client_behavior'
    and kind = 'model'
    and as_of < cast(:as_of as date)
order by
    as_of desc,
    created_at desc
limit 1
