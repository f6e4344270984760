-- simulated shop: purchases, as an owner keeps them
-- Grain:         one row per line bought; real files repeat lines, so there is no key
-- Inputs:        none
-- Output:        table apparel_purchases in database app
-- Point in time: date is the day of the purchase; a row may arrive, or change, days later
-- Parameters:    none
create table if not exists apparel_purchases (
    client_id bigint,
    quantity integer,
    price double precision,
    category_ids text,
    date date,
    message_id text
)
