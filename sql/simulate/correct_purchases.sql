-- simulated shop: the owner corrects lines of earlier days
-- Grain:         one correction per line; every equal row changes
-- Inputs:        the arrays, one element per correction
-- Output:        apparel_purchases with the new price and quantity
-- Point in time: the old rows reached the source before, extraction may have copied them
-- Parameters:    clients bigint[], days date[], prices double precision[], quantities integer[],
--                new_prices double precision[], new_quantities integer[]
update apparel_purchases
set
    price = correction.new_price,
    quantity = correction.new_quantity
from
    (
        select distinct
            unnest(cast(:clients as bigint[])) as client_id,
            unnest(cast(:days as date[])) as date,
            unnest(cast(:prices as double precision[])) as price,
            unnest(cast(:quantities as integer[])) as quantity,
            unnest(cast(:new_prices as double precision[])) as new_price,
            unnest(cast(:new_quantities as integer[])) as new_quantity
    ) as correction
where
    apparel_purchases.client_id = correction.client_id
    and apparel_purchases.date = correction.date
    and apparel_purchases.price = correction.price
    and apparel_purchases.quantity = correction.quantity
