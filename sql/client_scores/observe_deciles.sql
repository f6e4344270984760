-- score deciles: the positives that a published day's deciles turned out to have
-- Grain:         one decile
-- Inputs:        the caller's count
-- Output:        result.score_deciles.observed
-- Point in time: written once the day's label window is complete
-- Parameters:    job text, as_of date, decile integer, observed integer
update result.score_deciles
set observed = cast(:observed as integer)
where
    job = cast(:job as text)
    and as_of = cast(:as_of as date)
    and decile = cast(:decile as integer)
