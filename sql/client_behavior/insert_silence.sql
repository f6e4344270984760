-- client_behavior, how many silences of a length ended
-- Grain:         one row
-- Inputs:        the values given
-- Output:        one row in result.client_behavior_silence; that of a version named again is replaced
-- Point in time: written by the training of as_of
-- Parameters:    those of the table's columns
insert into result.client_behavior_silence (
    model_version,
    as_of,
    days,
    silent,
    back,
    share,
    chosen
)
values (
    cast(:model_version as text),
    cast(:as_of as date),
    cast(:days as integer),
    cast(:silent as bigint),
    cast(:back as bigint),
    cast(:share as double precision),
    cast(:chosen as boolean)
)
on conflict (model_version, days) do update set
    as_of = excluded.as_of,
    silent = excluded.silent,
    back = excluded.back,
    share = excluded.share,
    chosen = excluded.chosen
