-- feature.purchase_day: purchases by client and day, a version for each time the day changed
-- Grain:         one row per client_id, event_day and known_from
-- Inputs:        raw.apparel_purchases, raw.apparel_messages (clicks and purchases: the tie)
-- Output:        versions known_at for every client and day that changed then; older ones closed
-- Point in time: a version counts only rows known by its known_from; known_at null means on time
--                (event_day + 1), as in a load of history
-- Parameters:    first_day date, last_day date, known_at date or null
with changed as (
    select distinct
        client_id,
        event_day,
        coalesce(cast(:known_at as date), event_day + 1) as known_at
    from raw.apparel_purchases
    where
        event_day between cast(:first_day as date) and cast(:last_day as date)
        and (
            cast(:known_at as date) is null
            or known_from = cast(:known_at as date)
            or known_to = cast(:known_at as date)
        )
),

replaced as (
    delete from feature.purchase_day as old
    using changed
    where
        old.client_id = changed.client_id
        and old.event_day = changed.event_day
        and old.known_from = changed.known_at
),

closed as (
    update feature.purchase_day as old
    set known_to = changed.known_at
    from changed
    where
        old.client_id = changed.client_id
        and old.event_day = changed.event_day
        and old.known_from < changed.known_at
        and old.known_to = 'infinity'
),

lines as (
    select
        purchases.*,
        changed.known_at,
        tie.channel as tied_channel,
        tie.bulk_campaign_id as tied_campaign
    from raw.apparel_purchases as purchases
    inner join changed
        on
            purchases.client_id = changed.client_id
            and purchases.event_day = changed.event_day
    left join lateral (
        -- A message id comes back in other years, so only the last 30 days count as its message.
        select
            messages.channel,
            messages.bulk_campaign_id
        from raw.apparel_messages as messages
        where
            messages.client_id = purchases.client_id
            and messages.message_id = purchases.message_id
            and messages.event in ('click', 'purchase')
            and messages.event_day between purchases.event_day - 30 and purchases.event_day
            and messages.known_from <= changed.known_at
            and messages.known_to > changed.known_at
        order by
            messages.event_day desc,
            messages.channel asc,
            messages.bulk_campaign_id asc
        limit 1
    ) as tie on true
    where
        purchases.event_day between cast(:first_day as date) and cast(:last_day as date)
        and purchases.known_from <= changed.known_at
        and purchases.known_to > changed.known_at
),

-- One grouping and no join after it: how many lines there are can be planned only badly, and a
-- join planned for one line took hours for 400,000.
days as (
    select
        client_id,
        event_day,
        known_at,
        count(*) as lines,
        sum(quantity) as quantity,
        sum(quantity * price) as spent,
        sum(price) as price_sum,
        min(price) as min_price,
        max(price) as max_price,
        -- The owner writes a Python list as text: "['4', '28']", "[]" or "[None]".
        string_to_array(
            string_agg(regexp_replace(category_ids, '[][''" ]', '', 'g'), ','), ','
        ) as categories,
        count(message_id) as tied_lines,
        array_agg(coalesce(tied_channel, 'unknown') order by tied_channel)
        filter (where message_id is not null) as tied_channels,
        array_agg(tied_campaign order by tied_campaign)
        filter (where tied_campaign is not null) as tied_campaigns
    from lines
    group by
        client_id,
        event_day,
        known_at
)

insert into feature.purchase_day (
    client_id, event_day, known_from, lines, quantity, spent, price_sum, min_price, max_price,
    categories, tied_lines, tied_channels, tied_campaigns
)
select
    client_id,
    event_day,
    known_at,
    lines,
    quantity,
    spent,
    price_sum,
    min_price,
    max_price,
    array(
        select category.id
        from unnest(days.categories) as category (id)
        where category.id not in ('', 'None')
        order by category.id
    ),
    tied_lines,
    coalesce(tied_channels, '{}'),
    coalesce(tied_campaigns, '{}')
from days
