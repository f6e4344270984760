-- pages profile of one table
-- Grain:         one row per column and event day, columns in the table's order, oldest day first
-- Inputs:        bi.data_profile, and the column comments of raw
-- Output:        column_name, comment, event_day, rows, nulls, distinct_values, minimum, maximum,
--                mean, quantiles, top_values, rows_change, null_share_change, mean_change
-- Point in time: everything recorded so far, for the newest event days of the table
-- Parameters:    table_name text, days integer
with columns as (
    select
        attname as column_name,
        attnum as place,
        col_description(attrelid, attnum) as comment
    from pg_attribute
    where attrelid = to_regclass('raw.' || quote_ident(cast(:table_name as text)))
)

select
    profile.column_name,
    columns.comment,
    profile.event_day,
    profile.rows,
    profile.nulls,
    profile.distinct_values,
    profile.minimum,
    profile.maximum,
    profile.mean,
    profile.quantiles,
    profile.top_values,
    profile.rows_change,
    profile.null_share_change,
    profile.mean_change
from bi.data_profile as profile
left join columns on profile.column_name = columns.column_name
where
    profile.table_name = cast(:table_name as text)
    and profile.event_day > (
        select max(newest.event_day) - cast(:days as integer)
        from ops.profile as newest
        where newest.table_name = cast(:table_name as text)
    )
order by columns.place, profile.column_name, profile.event_day
