-- morning_page stale_days
-- Grain:         one row per result table with published days whose inputs changed since
-- Inputs:        bi.stale_days
-- Output:        table_name, job, settled (days that stay as they are), days (those that another
--                run would change, newest first; null if none) with first_day and last_day,
--                newest (of both kinds)
-- Point in time: as things stand now
-- Parameters:    none
select
    table_name,
    job,
    count(*) filter (where not to_rescore) as settled,
    array_agg(as_of order by as_of desc) filter (where to_rescore) as days,
    min(as_of) filter (where to_rescore) as first_day,
    max(as_of) filter (where to_rescore) as last_day,
    max(as_of) as newest
from bi.stale_days
group by
    table_name,
    job
order by table_name
