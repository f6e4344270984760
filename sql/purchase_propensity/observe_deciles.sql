-- purchase_propensity deciles: the buyers that a published day's deciles turned out to have
-- Grain:         one decile
-- Inputs:        the caller's count
-- Output:        result.purchase_propensity_deciles.observed
-- Point in time: written once the day's label window is complete
-- Parameters:    as_of date, decile integer, observed integer
update result.purchase_propensity_deciles
set observed = cast(:observed as integer)
where
    as_of = cast(:as_of as date)
    and decile = cast(:decile as integer)
