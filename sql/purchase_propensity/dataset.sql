-- purchase_propensity dataset, for training and scoring alike
-- Grain:         one row per client seen (bought or messaged) before as_of; key client_id
-- Inputs:        feature.client_life, feature.purchase_day, feature.message_day,
--                raw.apparel_target_binary
-- Output:        client_id, the columns that jobs/purchase_propensity/features.py reads (null where
--                the client has no such thing), categories (ids bought in 365 days, by day),
--                bought (label, 0 or 1) and spent_next (what was spent in the label's window)
-- Point in time: features see only what happened before as_of 00:00 UTC and was known by as_of;
--                labels see [as_of, as_of + horizon_days) as known by known_by, and are null
--                while that window is not complete; the owner's labels go before computed ones
-- Parameters:    as_of date, horizon_days integer, known_by date, shard integer, shards integer
--                (client_id's hash modulo shards is shard: 0 of 1 is every client)
with life as (
    select
        client_id,
        last_purchase_day,
        cast(:as_of as date) - first_seen_day as seen_days,
        cast(:as_of as date) - first_purchase_day as tenure_days,
        cast(:as_of as date) - last_purchase_day as days_since_purchase,
        nullif(purchase_days, 0) as purchase_days,
        nullif(lines, 0) as lines_bought,
        nullif(quantity, 0) as quantity,
        case when purchase_days > 0 then spent end as spent,
        case when purchase_days > 1 then gap_days / (purchase_days - 1.0) end as gap_mean,
        case
            when purchase_days > 1
                then sqrt(
                    greatest(
                        gap_days_squared / (purchase_days - 1.0)
                        - (gap_days / (purchase_days - 1.0)) ^ 2,
                        0
                    )
                )
        end as gap_spread,
        case when purchase_days > 1 then max_gap end as gap_max,
        price_sum / nullif(lines, 0) as price_usual
    from feature.client_life
    where
        valid_from <= cast(:as_of as date)
        and valid_to > cast(:as_of as date)
        and mod(abs(cast(hashint8(client_id) as bigint)), cast(:shards as integer))
        = cast(:shard as integer)
),

bought_days as (
    select
        client_id,
        event_day,
        lines,
        quantity,
        spent,
        price_sum,
        min_price,
        max_price,
        categories,
        tied_lines,
        tied_channels,
        tied_campaigns
    from feature.purchase_day
    where
        event_day < cast(:as_of as date)
        and event_day >= cast(:as_of as date) - 365
        and known_from <= cast(:as_of as date)
        and known_to > cast(:as_of as date)
        and mod(abs(cast(hashint8(client_id) as bigint)), cast(:shards as integer))
        = cast(:shard as integer)
),

purchases as (
    select
        bought.client_id,
        count(*) filter (where bought.event_day >= cast(:as_of as date) - 7)
            as purchase_days_7d,
        count(*) filter (where bought.event_day >= cast(:as_of as date) - 30)
            as purchase_days_30d,
        count(*) filter (where bought.event_day >= cast(:as_of as date) - 90)
            as purchase_days_90d,
        count(*) filter (where bought.event_day >= cast(:as_of as date) - 180)
            as purchase_days_180d,
        sum(bought.quantity) filter (where bought.event_day >= cast(:as_of as date) - 7)
            as quantity_7d,
        sum(bought.quantity) filter (where bought.event_day >= cast(:as_of as date) - 30)
            as quantity_30d,
        sum(bought.quantity) filter (where bought.event_day >= cast(:as_of as date) - 90)
            as quantity_90d,
        sum(bought.quantity) filter (where bought.event_day >= cast(:as_of as date) - 180)
            as quantity_180d,
        sum(bought.spent) filter (where bought.event_day >= cast(:as_of as date) - 7)
            as spent_7d,
        sum(bought.spent) filter (where bought.event_day >= cast(:as_of as date) - 30)
            as spent_30d,
        sum(bought.spent) filter (where bought.event_day >= cast(:as_of as date) - 90)
            as spent_90d,
        sum(bought.spent) filter (where bought.event_day >= cast(:as_of as date) - 180)
            as spent_180d,
        count(*) filter (where bought.event_day < cast(:as_of as date) - 275)
            as purchase_days_this_season,
        sum(bought.price_sum) filter (where bought.event_day >= cast(:as_of as date) - 90)
        / nullif(sum(bought.lines) filter (where bought.event_day >= cast(:as_of as date) - 90), 0)
            as price_90d,
        min(bought.min_price) as price_min_365d,
        max(bought.max_price) as price_max_365d,
        sum(bought.tied_lines) / cast(nullif(sum(bought.lines), 0) as double precision)
            as tied_share_365d,
        sum(cardinality(array_positions(bought.tied_channels, 'email')))
        / cast(nullif(sum(bought.lines), 0) as double precision) as tied_email_share_365d,
        sum(cardinality(array_positions(bought.tied_channels, 'mobile_push')))
        / cast(nullif(sum(bought.lines), 0) as double precision) as tied_mobile_push_share_365d,
        sum(cardinality(array_positions(bought.tied_channels, 'web_push')))
        / cast(nullif(sum(bought.lines), 0) as double precision) as tied_web_push_share_365d,
        sum(cardinality(array_positions(bought.tied_channels, 'sms')))
        / cast(nullif(sum(bought.lines), 0) as double precision) as tied_sms_share_365d
    from bought_days as bought
    group by bought.client_id
),

baskets as (
    select
        categories.client_id,
        array_agg(
            categories.id
            order by categories.event_day, categories.id
        ) filter (where categories.kind = 'category') as categories,
        count(distinct categories.id) filter (where categories.kind = 'category')
            as category_breadth_365d,
        count(distinct categories.id) filter (where categories.kind = 'campaign')
            as tied_campaigns_365d
    from (
        select
            client_id,
            event_day,
            'category' as kind,
            unnest(categories) as id
        from bought_days
        union all
        select
            client_id,
            event_day,
            'campaign' as kind,
            cast(unnest(tied_campaigns) as text) as id
        from bought_days
    ) as categories
    group by categories.client_id
),

messages as (
    select
        sent.client_id,
        sum(sent.sends) filter (where sent.event_day >= cast(:as_of as date) - 7)
            as sends_7d,
        sum(sent.sends) filter (where sent.event_day >= cast(:as_of as date) - 30)
            as sends_30d,
        sum(sent.sends) filter (where sent.event_day >= cast(:as_of as date) - 90)
            as sends_90d,
        sum(sent.sends) filter (where sent.event_day >= cast(:as_of as date) - 180)
            as sends_180d,
        sum(sent.opens) filter (where sent.event_day >= cast(:as_of as date) - 7)
            as opens_7d,
        sum(sent.opens) filter (where sent.event_day >= cast(:as_of as date) - 30)
            as opens_30d,
        sum(sent.opens) filter (where sent.event_day >= cast(:as_of as date) - 90)
            as opens_90d,
        sum(sent.opens) filter (where sent.event_day >= cast(:as_of as date) - 180)
            as opens_180d,
        sum(sent.clicks) filter (where sent.event_day >= cast(:as_of as date) - 7)
            as clicks_7d,
        sum(sent.clicks) filter (where sent.event_day >= cast(:as_of as date) - 30)
            as clicks_30d,
        sum(sent.clicks) filter (where sent.event_day >= cast(:as_of as date) - 90)
            as clicks_90d,
        sum(sent.clicks) filter (where sent.event_day >= cast(:as_of as date) - 180)
            as clicks_180d,
        sum(sent.sends) filter (
            where sent.channel = 'email' and sent.event_day >= cast(:as_of as date) - 90
        ) as sends_email_90d,
        sum(sent.opens) filter (
            where sent.channel = 'email' and sent.event_day >= cast(:as_of as date) - 90
        ) as opens_email_90d,
        sum(sent.clicks) filter (
            where sent.channel = 'email' and sent.event_day >= cast(:as_of as date) - 90
        ) as clicks_email_90d,
        sum(sent.sends) filter (
            where sent.channel = 'mobile_push' and sent.event_day >= cast(:as_of as date) - 90
        ) as sends_mobile_push_90d,
        sum(sent.opens) filter (
            where sent.channel = 'mobile_push' and sent.event_day >= cast(:as_of as date) - 90
        ) as opens_mobile_push_90d,
        sum(sent.clicks) filter (
            where sent.channel = 'mobile_push' and sent.event_day >= cast(:as_of as date) - 90
        ) as clicks_mobile_push_90d,
        sum(sent.sends) filter (
            where sent.channel = 'web_push' and sent.event_day >= cast(:as_of as date) - 90
        ) as sends_web_push_90d,
        sum(sent.opens) filter (
            where sent.channel = 'web_push' and sent.event_day >= cast(:as_of as date) - 90
        ) as opens_web_push_90d,
        sum(sent.clicks) filter (
            where sent.channel = 'web_push' and sent.event_day >= cast(:as_of as date) - 90
        ) as clicks_web_push_90d,
        sum(sent.sends) filter (
            where sent.channel = 'sms' and sent.event_day >= cast(:as_of as date) - 90
        ) as sends_sms_90d,
        sum(sent.opens) filter (
            where sent.channel = 'sms' and sent.event_day >= cast(:as_of as date) - 90
        ) as opens_sms_90d,
        sum(sent.clicks) filter (
            where sent.channel = 'sms' and sent.event_day >= cast(:as_of as date) - 90
        ) as clicks_sms_90d,
        sum(sent.purchases) filter (where sent.event_day >= cast(:as_of as date) - 180)
            as message_purchases_180d,
        sum(sent.closes) filter (where sent.event_day >= cast(:as_of as date) - 180)
            as closes_180d,
        sum(sent.unsubscribes) filter (where sent.event_day >= cast(:as_of as date) - 180)
            as unsubscribes_180d,
        sum(sent.complaints) filter (where sent.event_day >= cast(:as_of as date) - 180)
            as complaints_180d,
        sum(sent.hard_bounces) filter (where sent.event_day >= cast(:as_of as date) - 180)
            as hard_bounces_180d,
        sum(sent.soft_bounces) filter (where sent.event_day >= cast(:as_of as date) - 180)
            as soft_bounces_180d,
        cast(:as_of as date) - max(sent.event_day) filter (where sent.sends > 0)
            as days_since_send,
        cast(:as_of as date) - max(sent.event_day) filter (where sent.opens > 0)
            as days_since_open,
        cast(:as_of as date) - max(sent.event_day) filter (where sent.clicks > 0)
            as days_since_click,
        cast(:as_of as date) - max(sent.event_day) filter (where sent.unsubscribes > 0)
            as days_since_unsubscribe
    from feature.message_day as sent
    where
        sent.event_day < cast(:as_of as date)
        and sent.event_day >= cast(:as_of as date) - 365
        and sent.known_from <= cast(:as_of as date)
        and sent.known_to > cast(:as_of as date)
        and mod(abs(cast(hashint8(sent.client_id) as bigint)), cast(:shards as integer))
        = cast(:shard as integer)
    group by sent.client_id
),

buyers as (
    select
        client_id,
        sum(spent) as spent
    from feature.purchase_day
    where
        event_day >= cast(:as_of as date)
        and event_day < cast(:as_of as date) + cast(:horizon_days as integer)
        and event_day < cast(:known_by as date)
        and known_from <= cast(:known_by as date)
        and known_to > cast(:known_by as date)
        and quantity > 0
    group by client_id
),

label as (
    select
        cast(:as_of as date) + cast(:horizon_days as integer) <= cast(:known_by as date)
            as is_complete
),

owner_labels as (
    select
        client_id,
        target
    from raw.apparel_target_binary
    where as_of = cast(:as_of as date)
)

select
    life.client_id,
    life.seen_days,
    life.tenure_days,
    life.days_since_purchase,
    cast(life.purchase_days as double precision) as purchase_days,
    cast(life.lines_bought as double precision) as lines_bought,
    cast(life.quantity as double precision) as quantity,
    cast(life.spent as double precision) as spent,
    cast(life.gap_mean as double precision) as gap_mean,
    cast(life.gap_spread as double precision) as gap_spread,
    cast(life.gap_max as double precision) as gap_max,
    cast(purchases.purchase_days_7d as double precision) as purchase_days_7d,
    cast(purchases.purchase_days_30d as double precision) as purchase_days_30d,
    cast(purchases.purchase_days_90d as double precision) as purchase_days_90d,
    cast(purchases.purchase_days_180d as double precision) as purchase_days_180d,
    cast(purchases.quantity_7d as double precision) as quantity_7d,
    cast(purchases.quantity_30d as double precision) as quantity_30d,
    cast(purchases.quantity_90d as double precision) as quantity_90d,
    cast(purchases.quantity_180d as double precision) as quantity_180d,
    cast(purchases.spent_7d as double precision) as spent_7d,
    cast(purchases.spent_30d as double precision) as spent_30d,
    cast(purchases.spent_90d as double precision) as spent_90d,
    cast(purchases.spent_180d as double precision) as spent_180d,
    cast(purchases.purchase_days_this_season as double precision) as purchase_days_this_season,
    cast(latest.spent as double precision) as last_spent,
    cast(latest.quantity as double precision) as last_quantity,
    cast(life.price_usual as double precision) as price_usual,
    cast(purchases.price_min_365d as double precision) as price_min_365d,
    cast(purchases.price_max_365d as double precision) as price_max_365d,
    cast(1 - purchases.price_90d / nullif(life.price_usual, 0) as double precision)
        as discount_90d,
    cast(
        1 - latest.price_sum / nullif(latest.lines, 0) / nullif(life.price_usual, 0)
        as double precision
    ) as discount_last,
    cast(baskets.category_breadth_365d as double precision) as category_breadth_365d,
    purchases.tied_share_365d,
    purchases.tied_email_share_365d,
    purchases.tied_mobile_push_share_365d,
    purchases.tied_web_push_share_365d,
    purchases.tied_sms_share_365d,
    cast(baskets.tied_campaigns_365d as double precision) as tied_campaigns_365d,
    cast(messages.sends_7d as double precision) as sends_7d,
    cast(messages.sends_30d as double precision) as sends_30d,
    cast(messages.sends_90d as double precision) as sends_90d,
    cast(messages.sends_180d as double precision) as sends_180d,
    cast(messages.opens_7d as double precision) as opens_7d,
    cast(messages.opens_30d as double precision) as opens_30d,
    cast(messages.opens_90d as double precision) as opens_90d,
    cast(messages.opens_180d as double precision) as opens_180d,
    cast(messages.clicks_7d as double precision) as clicks_7d,
    cast(messages.clicks_30d as double precision) as clicks_30d,
    cast(messages.clicks_90d as double precision) as clicks_90d,
    cast(messages.clicks_180d as double precision) as clicks_180d,
    cast(messages.sends_email_90d as double precision) as sends_email_90d,
    cast(messages.opens_email_90d as double precision) as opens_email_90d,
    cast(messages.clicks_email_90d as double precision) as clicks_email_90d,
    cast(messages.sends_mobile_push_90d as double precision) as sends_mobile_push_90d,
    cast(messages.opens_mobile_push_90d as double precision) as opens_mobile_push_90d,
    cast(messages.clicks_mobile_push_90d as double precision) as clicks_mobile_push_90d,
    cast(messages.sends_web_push_90d as double precision) as sends_web_push_90d,
    cast(messages.opens_web_push_90d as double precision) as opens_web_push_90d,
    cast(messages.clicks_web_push_90d as double precision) as clicks_web_push_90d,
    cast(messages.sends_sms_90d as double precision) as sends_sms_90d,
    cast(messages.opens_sms_90d as double precision) as opens_sms_90d,
    cast(messages.clicks_sms_90d as double precision) as clicks_sms_90d,
    cast(messages.message_purchases_180d as double precision) as message_purchases_180d,
    cast(messages.closes_180d as double precision) as closes_180d,
    cast(messages.unsubscribes_180d as double precision) as unsubscribes_180d,
    cast(messages.complaints_180d as double precision) as complaints_180d,
    cast(messages.hard_bounces_180d as double precision) as hard_bounces_180d,
    cast(messages.soft_bounces_180d as double precision) as soft_bounces_180d,
    cast(
        messages.message_purchases_180d / nullif(messages.clicks_180d, 0.0) as double precision
    ) as click_to_purchase_180d,
    messages.days_since_send,
    messages.days_since_open,
    messages.days_since_click,
    messages.days_since_unsubscribe,
    baskets.categories,
    case
        when label.is_complete
            then coalesce(owner_labels.target, cast(buyers.client_id is not null as integer))
    end as bought,
    case
        when label.is_complete
            then coalesce(cast(buyers.spent as double precision), 0)
    end as spent_next
from life
cross join label
left join purchases on life.client_id = purchases.client_id
left join bought_days as latest
    on
        life.client_id = latest.client_id
        and life.last_purchase_day = latest.event_day
left join baskets on life.client_id = baskets.client_id
left join messages on life.client_id = messages.client_id
left join buyers on life.client_id = buyers.client_id
left join owner_labels on life.client_id = owner_labels.client_id
order by life.client_id
