-- profile of one numeric column
-- Grain:         one row per event_day; key table_name, event_day, column_name
-- Inputs:        pg_temp.profiled (event_day, value, copies): the counts of one column, which
--                jobs/extract/profile.py makes, as no parameter carries a name
-- Output:        ops.profile, replaced; quantiles are values that occur (as percentile_disc
--                has them). top_values are the five most frequent of the values that occur more
--                than once; equally frequent ones come in the order of value, so that a rerun
--                writes the same row
-- Point in time: the rows that stand when it runs
-- Parameters:    table_name text, column_name text, as_of date
with summary as (
    select
        event_day,
        cast(trim_scale(cast(min(value) as numeric)) as text) as minimum,
        cast(trim_scale(cast(max(value) as numeric)) as text) as maximum,
        sum(copies) as rows,
        coalesce(sum(copies) filter (where value is null), 0) as nulls,
        count(value) as distinct_values,
        sum(cast(value as numeric) * copies) as total
    from pg_temp.profiled
    group by event_day
),

-- Quantiles from the counts, so that the rows themselves need not be sorted.
placed as (
    select
        event_day,
        value,
        sum(copies) over (partition by event_day order by value) as reached,
        sum(copies) over (partition by event_day) as total
    from pg_temp.profiled
    where value is not null
),

spread as (
    select
        event_day,
        array[
            min(value) filter (where reached >= 0.05 * total),
            min(value) filter (where reached >= 0.25 * total),
            min(value) filter (where reached >= 0.50 * total),
            min(value) filter (where reached >= 0.75 * total),
            min(value) filter (where reached >= 0.95 * total)
        ] as quantiles
    from placed
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
            jsonb_build_object(
                'value', cast(trim_scale(cast(value as numeric)) as text), 'count', copies
            )
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
    cast(summary.total / nullif(summary.rows - summary.nulls, 0) as double precision) as mean,
    cast(spread.quantiles as double precision[]) as quantiles,
    coalesce(frequent.top_values, '[]') as top_values
from summary
left join spread on summary.event_day = spread.event_day
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
