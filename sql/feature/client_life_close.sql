-- Ends the version that held before a client's first change
-- Grain:         one version per client in life_change, where there is one
-- Inputs:        life_change
-- Output:        feature.client_life.valid_to of that version
-- Point in time: the version goes on holding for every as_of before the change
-- Parameters:    known_from date
update feature.client_life
set valid_to = changed.as_of
from (
    select
        client_id,
        min(as_of) as as_of
    from life_change
    group by client_id
) as changed
where
    client_life.client_id = changed.client_id
    and client_life.valid_from < cast(:known_from as date)
    and client_life.valid_to >= cast(:known_from as date)
