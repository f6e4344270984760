-- profile of one column that is no number: text, a day, a time
-- Grain:         one row per event_day; key table_name, event_day, column_name
-- Inputs:        pg_temp.profiled (event_day, value, copies): the counts of one column, which
--                jobs/extract/profile.py makes, as no parameter carries a name
-- Output:        ops.profile, replaced; mean and quantiles are null, texts are cut at 100 letters.
--                top_values are the five most frequent of the values that occur more than
--                once; equally frequent ones come in the order of value, so that a rerun
--                writes the same row
-- Point in time: the rows that stand when it runs
-- Parameters:    table_name text, column_name text, as_of date
with summary as (
    select
        event_day,
        sum(copies) as rows,
        coalesce(sum(copies) filter (where value is null), 0) as nulls,
        count(value) as distinct_values,
        left(cast(min(value) as text), 100) as minimum,
        left(cast(max(value) as text), 100) as maximum
    from pg_temp.profiled
    group by event_day
),

ranked as (
    select
        event_day,
        value,
        copies,
        row_number() over (partition by event_day order by copies desc, value asc) as place
    from pg_temp.profiled
    where value is not null and copies > 1
),

frequent as (
    select
        event_day,
        jsonb_agg(
            jsonb_build_object('value', left(cast(value as text), 100), 'count', copies)
            order by place
        ) as top_values
    from ranked
    where place <= 5
    group by event_day
)

insert into ops.profile (
    table_name, event_day, column_name, as_of,
    rows, nulls, distinct_values, minimum, maximum, mean, quantiles, top_values
)
select
    cast(:table_name as text) as table_name,
    summary.event_day,
    cast(:column_name as text) as column_name,
    cast(:as_of as date) as as_of,
    summary.rows,
    summary.nulls,
    summary.distinct_values,
    summary.minimum,
    summary.maximum,
    null as mean,
    null as quantiles,
    coalesce(frequent.top_values, '[]') as top_values
from summary
left join frequent on summary.event_day = frequent.event_day
on conflict (table_name, event_day, column_name) do update
    set
        as_of = excluded.as_of,
        rows = excluded.rows,
        nulls = excluded.nulls,
        distinct_values = excluded.distinct_values,
        minimum = excluded.minimum,
        maximum = excluded.maximum,
        mean = excluded.mean,
        quantiles = excluded.quantiles,
        top_values = excluded.top_values
