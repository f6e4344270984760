-- simulated shop: marketing messages and what became of them
-- Grain:         one row per message and event; no key, message_id comes back in other years
-- Inputs:        none
-- Output:        table apparel_messages in database app
-- Point in time: created_at (UTC) is the event's time, date stands in where it is null
-- Parameters:    none
create table if not exists apparel_messages (
    bulk_campaign_id bigint,
    client_id bigint,
    message_id text,
    event text,
    channel text,
    date date,
    created_at timestamp without time zone
)
