-- purchase_propensity deciles: how many buyers each tenth of the clients should have
-- Grain:         one row per decile of the day
-- Inputs:        result.purchase_propensity
-- Output:        result.purchase_propensity_deciles, what was observed taken back
-- Point in time: written with the day's publication
-- Parameters:    as_of date
insert into result.purchase_propensity_deciles as deciles (
    as_of, decile, clients, predicted, model_version
)
select
    as_of,
    decile,
    count(*),
    sum(cast(probability as double precision)),
    min(model_version)
from result.purchase_propensity
where as_of = cast(:as_of as date)
group by
    as_of,
    decile
on conflict (as_of, decile) do update set
    clients = excluded.clients,
    predicted = excluded.predicted,
    observed = null,
    model_version = excluded.model_version
