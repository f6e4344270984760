-- incidents days_missing
-- Grain:         one row per given table that the owner has and whose day before as_of is not
--                loaded
-- Inputs:        ops.load, ops.absent_table
-- Output:        table_name, event_day (the missing day), newest_day (loaded by as_of; null: none)
-- Point in time: a day counts when an extraction of as_of or earlier wrote it
-- Parameters:    tables text[] (under raw, without the schema), optional text[] (those that an owner
--                may lack: missing only once a day of theirs was loaded), as_of date
select
    wanted.table_name,
    cast(:as_of as date) - 1 as event_day,
    newest.event_day as newest_day
from unnest(cast(:tables as text[])) as wanted (table_name)
left join lateral (
    select max(load.event_day) as event_day
    from ops.load
    where load.table_name = wanted.table_name and load.as_of <= cast(:as_of as date)
) as newest on true
where
    not exists (
        select from ops.load
        where
            load.table_name = wanted.table_name
            and load.event_day = cast(:as_of as date) - 1
            and load.as_of <= cast(:as_of as date)
    )
    and not exists (
        select from ops.absent_table
        where absent_table.table_name = wanted.table_name
    )
    and (
        not wanted.table_name = any(cast(:optional as text[]))
        or exists (
            select from ops.load
            where
                load.table_name = wanted.table_name
                and load.event_day < cast(:as_of as date) - 1
                and load.as_of <= cast(:as_of as date)
                and load.mode <> 'absent'
        )
    )
order by wanted.table_name
