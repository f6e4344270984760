-- simulated shop: what clients do in it
-- Grain:         one row per step of a visit
-- Inputs:        none
-- Output:        table client_event in database app
-- Point in time: event_time (UTC) is the step's time
-- Parameters:    none
create table if not exists client_event (
    client_id bigint,
    event_time timestamp without time zone,
    event_type text,
    product_id bigint
)
