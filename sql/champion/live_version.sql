-- champion live_version
-- Grain:         at most one row
-- Inputs:        ops.promotion
-- Output:        model_version, live_since (the day its decision took effect), promotion_id
-- Point in time: decisions effective by as_of, whenever they were taken; the last one by
--                (effective_as_of, decided_at) holds. Keeping or refusing changes nothing.
-- Parameters:    job text, as_of date
select
    promotion.to_version as model_version,
    promotion.effective_as_of as live_since,
    promotion.promotion_id
from ops.promotion
where
    promotion.job = cast(:job as text)
    and promotion.effective_as_of <= cast(:as_of as date)
    and promotion.decision in ('promote', 'rollback')
order by
    promotion.effective_as_of desc,
    promotion.decided_at desc,
    promotion.promotion_id desc
limit 1
