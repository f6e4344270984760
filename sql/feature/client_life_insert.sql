-- feature.client_life: each changed client's whole life, as of each day it changed
-- Grain:         one row per client_id and as_of in life_change
-- Inputs:        life_change, feature.purchase_day, feature.message_day, feature.client_life
-- Output:        versions valid from each change to the next
-- Point in time: a version counts only purchases known by its valid_from (and so before it)
-- Parameters:    known_from date
with earlier as (
    select
        life.client_id,
        min(life.first_message_day) as first_message_day
    from feature.client_life as life
    inner join (select distinct client_id from life_change) as changed
        on life.client_id = changed.client_id
    group by life.client_id
),

purchased as (
    select
        change.client_id,
        change.as_of,
        days.event_day,
        days.lines,
        days.quantity,
        days.spent,
        days.price_sum,
        days.event_day - lag(days.event_day) over (
            partition by change.client_id, change.as_of
            order by days.event_day
        ) as gap
    from life_change as change
    inner join feature.purchase_day as days
        on
            change.client_id = days.client_id
            and change.as_of >= days.known_from
            and change.as_of < days.known_to
),

life as (
    select
        client_id,
        as_of,
        min(event_day) as first_purchase_day,
        max(event_day) as last_purchase_day,
        count(*) as purchase_days,
        sum(lines) as lines,
        sum(quantity) as quantity,
        sum(spent) as spent,
        sum(price_sum) as price_sum,
        coalesce(sum(gap), 0) as gap_days,
        coalesce(sum(gap * gap), 0) as gap_days_squared,
        coalesce(max(gap), 0) as max_gap
    from purchased
    group by
        client_id,
        as_of
),

message_start as (
    select
        change.client_id,
        change.as_of,
        min(messages.event_day) as first_day
    from life_change as change
    inner join feature.message_day as messages
        on
            change.client_id = messages.client_id
            and change.as_of >= messages.known_from
    where messages.known_from >= cast(:known_from as date)
    group by
        change.client_id,
        change.as_of
),

states as (
    select
        change.client_id,
        change.as_of,
        least(earlier.first_message_day, message_start.first_day) as first_message_day,
        life.first_purchase_day,
        life.last_purchase_day,
        coalesce(life.purchase_days, 0) as purchase_days,
        coalesce(life.lines, 0) as lines,
        coalesce(life.quantity, 0) as quantity,
        coalesce(life.spent, 0) as spent,
        coalesce(life.price_sum, 0) as price_sum,
        coalesce(life.gap_days, 0) as gap_days,
        coalesce(life.gap_days_squared, 0) as gap_days_squared,
        coalesce(life.max_gap, 0) as max_gap
    from life_change as change
    left join life
        on
            change.client_id = life.client_id
            and change.as_of = life.as_of
    left join message_start
        on
            change.client_id = message_start.client_id
            and change.as_of = message_start.as_of
    left join earlier on change.client_id = earlier.client_id
)

insert into feature.client_life (
    client_id, valid_from, valid_to, first_seen_day, first_message_day, first_purchase_day,
    last_purchase_day, purchase_days, lines, quantity, spent, price_sum, gap_days,
    gap_days_squared, max_gap
)
select
    client_id,
    as_of,
    lead(as_of, 1, 'infinity') over (partition by client_id order by as_of),
    least(first_message_day, first_purchase_day),
    first_message_day,
    first_purchase_day,
    last_purchase_day,
    purchase_days,
    lines,
    quantity,
    spent,
    price_sum,
    gap_days,
    gap_days_squared,
    max_gap
from states
-- A client whose only purchase was taken back, and who was never messaged, was never there.
where first_message_day is not null or first_purchase_day is not null
