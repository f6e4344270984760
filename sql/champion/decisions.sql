-- champion decisions
-- Grain:         one row per decision of a job, in the order they were taken
-- Inputs:        ops.promotion
-- Output:        the columns of ops.promotion
-- Point in time: everything decided so far
-- Parameters:    job text
select
    promotion.promotion_id,
    promotion.effective_as_of,
    promotion.decided_at,
    promotion.actor,
    promotion.decision,
    promotion.reason,
    promotion.from_version,
    promotion.to_version,
    promotion.figures
from ops.promotion
where promotion.job = cast(:job as text)
order by promotion.promotion_id
