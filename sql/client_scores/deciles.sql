-- score deciles: how many positives each tenth of a job's clients should have
-- Grain:         one row per decile of the day
-- Inputs:        published (the rows of the day)
-- Output:        result.score_deciles, what was observed taken back
-- Point in time: written with the day's publication
-- Parameters:    job text
insert into result.score_deciles as deciles (
    job, as_of, decile, clients, predicted, model_version
)
select
    cast(:job as text),
    as_of,
    decile,
    count(*),
    sum(cast(probability as double precision)),
    min(model_version)
from published
group by
    as_of,
    decile
on conflict (job, as_of, decile) do update set
    clients = excluded.clients,
    predicted = excluded.predicted,
    observed = null,
    model_version = excluded.model_version
