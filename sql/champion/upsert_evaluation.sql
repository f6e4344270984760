-- champion upsert_evaluation
-- Grain:         one row per job, as_of, model_version, name, stage and metric
-- Inputs:        the values given
-- Output:        rows in ops.evaluation; measuring again replaces the value
-- Point in time: stage gate is measured by the run of as_of; stage matured is what was
--                published for as_of beside what happened
-- Parameters:    job, model_version, name, stage, metric text; as_of date;
--                value, low, high double precision; rows bigint
insert into ops.evaluation (
    job, as_of, model_version, name, stage, metric, value, low, high, rows
)
values (
    :job,
    cast(:as_of as date),
    :model_version,
    :name,
    :stage,
    :metric,
    cast(:value as double precision),
    cast(:low as double precision),
    cast(:high as double precision),
    cast(:rows as bigint)
)
on conflict (job, as_of, model_version, name, stage, metric) do update
    set
        value = excluded.value,
        low = excluded.low,
        high = excluded.high,
        rows = excluded.rows,
        evaluated_at = clock_timestamp()
