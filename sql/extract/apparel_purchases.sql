-- apparel_purchases, as its owner keeps it: the one place where the owner's names meet ours
-- Grain:         one row per line bought
-- Inputs:        app: apparel_purchases
-- Output:        the columns of raw.apparel_purchases up to message_id, event_day
-- Point in time: days from first_day to last_day, both included; a calendar day is taken as it
--                stands, since its end is the first moment at which all of it is known. Rows
--                without a day, or more than a day ahead of the source's clock, come along
--                every time: quarantine takes them once
-- Parameters:    first_day date, last_day date
select
    client_id,
    quantity,
    price,
    category_ids,
    date,
    message_id,
    date as event_day
from apparel_purchases
where
    date between cast(:first_day as date) and cast(:last_day as date)
    or date is null
    or date > current_date + 1
