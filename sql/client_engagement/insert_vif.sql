-- client_engagement, the multicollinearity of a training
-- Grain:         one number that was tested
-- Inputs:        the values given
-- Output:        one row in result.client_engagement_vif; that of a version named again is replaced
-- Point in time: written by the training of as_of
-- Parameters:    those of the table's columns
insert into result.client_engagement_vif (
    model_version,
    as_of,
    feature,
    vif,
    dropped
)
values (
    cast(:model_version as text),
    cast(:as_of as date),
    cast(:feature as text),
    cast(:vif as double precision),
    cast(:dropped as integer)
)
on conflict (model_version, feature) do update set
    as_of = excluded.as_of,
    vif = excluded.vif,
    dropped = excluded.dropped
