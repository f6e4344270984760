-- Changes are added up per day as they are joined: a history loaded anew after two years of nights
-- joins half a million pairs, and sorting them took more than half of the time.
create or replace view bi.stale_days as
with published as (
    select distinct on (publication.table_name, publication.as_of)
        publication.table_name,
        publication.as_of,
        publication.read_at
    from ops.publication
    order by
        publication.table_name asc,
        publication.as_of asc,
        publication.publication_id desc
),

changes as (
    select
        result_table.table_name,
        load.event_day,
        load.as_of as known_from,
        load.loaded_at,
        load.rows_loaded + load.closed as changed_rows
    from ops.result_table
    inner join ops.load on load.table_name = any(result_table.inputs)
    where load.rows_loaded + load.closed > 0
),

-- Known later: no run of those days may see them.
known_later as (
    select
        changes.table_name,
        cast(day as date) as as_of,
        changes.changed_rows,
        changes.loaded_at,
        false as to_rescore
    from changes
    cross join
        lateral generate_series(
            changes.event_day + 1, changes.known_from - 1, interval '1 day'
        ) as day
    where changes.known_from > changes.event_day + 1
),

-- The newest load known by each day, by one running maximum: a join of all with all is spared.
reread as (
    select
        timeline.table_name,
        timeline.as_of,
        timeline.read_at
    from (
        select
            events.table_name,
            events.as_of,
            events.read_at,
            max(events.loaded_at) over (
                partition by events.table_name
                order by events.as_of
                range between unbounded preceding and current row
            ) as newest
        from (
            select
                table_name,
                known_from as as_of,
                loaded_at,
                cast(null as timestamptz) as read_at
            from changes
            union all
            select
                table_name,
                as_of,
                null,
                read_at
            from published
        ) as events
    ) as timeline
    where timeline.read_at < timeline.newest
),

-- Loaded later: the next run of those days sees them.
loaded_later as (
    select
        reread.table_name,
        reread.as_of,
        cast(sum(changes.changed_rows) as bigint) as changed_rows,
        max(changes.loaded_at) as loaded_at,
        true as to_rescore
    from reread
    inner join changes
        on
            reread.table_name = changes.table_name
            and reread.as_of >= changes.known_from
            and reread.read_at < changes.loaded_at
    group by
        reread.table_name,
        reread.as_of
)

select
    missed.table_name,
    result_table.job,
    missed.as_of,
    sum(missed.changed_rows) as changed_rows,
    max(missed.loaded_at) as changed_at,
    bool_or(missed.to_rescore) as to_rescore
from (
    select * from known_later
    union all
    select * from loaded_later
) as missed
inner join published
    on
        missed.table_name = published.table_name
        and missed.as_of = published.as_of
inner join ops.result_table on missed.table_name = result_table.table_name
group by
    missed.table_name,
    result_table.job,
    missed.as_of;
