-- Takes away the versions that client_life_insert.sql is about to write anew
-- Grain:         versions of the clients in life_change
-- Inputs:        life_change
-- Output:        feature.client_life without their versions from known_from on
-- Point in time: versions valid before known_from stay as they are
-- Parameters:    known_from date
delete from feature.client_life
using (select distinct client_id from life_change) as changed
where
    client_life.client_id = changed.client_id
    and client_life.valid_from >= cast(:known_from as date)
