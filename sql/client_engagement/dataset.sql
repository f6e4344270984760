-- client_engagement dataset, for training and scoring alike
-- Grain:         one row per client seen (bought or messaged) before as_of; key client_id
-- Inputs:        feature.client_life, feature.purchase_day, feature.message_day
-- Output:        client_id, the columns that jobs/client_engagement/features.py reads (null where
--                the client has no such thing), categories (ids bought in 365 days, by day),
--                touches (event and channel of the last 90 days, by day) and target (label, 0 or 1)
-- Point in time: features see only what happened before as_of 00:00 UTC and was known by as_of;
--                has_interaction is a feature: an open or click in the 365 days before as_of.
--                target is 1 for a client with an event of engaged_by in
--                [as_of, as_of + horizon_days) as known by known_by, else 0, and null while that
--                window is not complete
-- Parameters:    as_of date, horizon_days integer, engaged_by text[] (of open and click),
--                known_by date, shard integer, shards integer (client_id's hash modulo shards is
--                shard: 0 of 1 is every client)
with life as (
    select
        client_id,
        cast(:as_of as date) - first_seen_day as seen_days,
        cast(:as_of as date) - last_purchase_day as days_since_last_purchase,
        purchase_days,
        quantity as total_quantity,
        case when purchase_days > 0 then spent else 0 end as total_spent,
        price_sum / nullif(lines, 0) as avg_price
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
        max_price,
        categories
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
        client_id,
        max(max_price) as max_price,
        count(*) filter (where event_day >= cast(:as_of as date) - 90) as purchase_days_90d
    from bought_days
    group by client_id
),

baskets as (
    select
        ids.client_id,
        array_agg(
            ids.id
            order by ids.event_day, ids.id
        ) as categories
    from (
        select
            client_id,
            event_day,
            unnest(categories) as id
        from bought_days
    ) as ids
    group by ids.client_id
),

by_channel as (
    select
        client_id,
        channel,
        sum(sends) filter (where event_day >= cast(:as_of as date) - 7) as sends_7d,
        sum(sends) filter (where event_day >= cast(:as_of as date) - 30) as sends_30d,
        sum(sends) filter (where event_day >= cast(:as_of as date) - 90) as sends_90d,
        sum(opens) filter (where event_day >= cast(:as_of as date) - 7) as opens_7d,
        sum(opens) filter (where event_day >= cast(:as_of as date) - 30) as opens_30d,
        sum(opens) filter (where event_day >= cast(:as_of as date) - 90) as opens_90d,
        sum(clicks) filter (where event_day >= cast(:as_of as date) - 7) as clicks_7d,
        sum(clicks) filter (where event_day >= cast(:as_of as date) - 30) as clicks_30d,
        sum(clicks) filter (where event_day >= cast(:as_of as date) - 90) as clicks_90d,
        sum(purchases) filter (where event_day >= cast(:as_of as date) - 180) as message_purchases_180d,
        sum(closes) filter (where event_day >= cast(:as_of as date) - 180) as closes_180d,
        sum(unsubscribes) filter (where event_day >= cast(:as_of as date) - 180) as unsubscribes_180d,
        sum(complaints) filter (where event_day >= cast(:as_of as date) - 180) as complaints_180d,
        sum(hard_bounces) filter (where event_day >= cast(:as_of as date) - 180) as hard_bounces_180d,
        sum(soft_bounces) filter (where event_day >= cast(:as_of as date) - 180) as soft_bounces_180d,
        sum(sends) as sends,
        sum(opens) as opens,
        sum(clicks) as clicks,
        sum(purchases) as purchases,
        sum(closes) as closes,
        sum(complaints) as complaints,
        sum(unsubscribes) as unsubscribes,
        max(event_day) filter (where sends > 0) as last_send_day,
        max(event_day) filter (where opens > 0) as last_open_day,
        max(event_day) filter (where clicks > 0) as last_click_day,
        max(event_day) filter (where purchases > 0) as last_purchase_day,
        max(event_day) filter (where closes > 0) as last_close_day,
        max(event_day) filter (where complaints > 0) as last_complain_day,
        max(event_day) filter (where unsubscribes > 0) as last_unsubscribe_day
    from feature.message_day
    where
        event_day < cast(:as_of as date)
        and event_day >= cast(:as_of as date) - 365
        and known_from <= cast(:as_of as date)
        and known_to > cast(:as_of as date)
        and mod(abs(cast(hashint8(client_id) as bigint)), cast(:shards as integer))
        = cast(:shard as integer)
    group by
        client_id,
        channel
),

messages as (
    select
        client_id,
        sum(sends_7d) as sends_7d,
        sum(sends_30d) as sends_30d,
        sum(sends_90d) as sends_90d,
        sum(opens_7d) as opens_7d,
        sum(opens_30d) as opens_30d,
        sum(opens_90d) as opens_90d,
        sum(clicks_7d) as clicks_7d,
        sum(clicks_30d) as clicks_30d,
        sum(clicks_90d) as clicks_90d,
        sum(message_purchases_180d) as message_purchases_180d,
        sum(closes_180d) as closes_180d,
        sum(unsubscribes_180d) as unsubscribes_180d,
        sum(complaints_180d) as complaints_180d,
        sum(hard_bounces_180d) as hard_bounces_180d,
        sum(soft_bounces_180d) as soft_bounces_180d,
        sum(sends_90d) filter (where channel = 'email') as sends_email_90d,
        sum(opens_90d) filter (where channel = 'email') as opens_email_90d,
        sum(clicks_90d) filter (where channel = 'email') as clicks_email_90d,
        sum(sends_90d) filter (where channel = 'mobile_push') as sends_mobile_push_90d,
        sum(opens_90d) filter (where channel = 'mobile_push') as opens_mobile_push_90d,
        sum(clicks_90d) filter (where channel = 'mobile_push') as clicks_mobile_push_90d,
        sum(sends_90d) filter (where channel = 'web_push') as sends_web_push_90d,
        sum(opens_90d) filter (where channel = 'web_push') as opens_web_push_90d,
        sum(clicks_90d) filter (where channel = 'web_push') as clicks_web_push_90d,
        sum(sends_90d) filter (where channel = 'sms') as sends_sms_90d,
        sum(opens_90d) filter (where channel = 'sms') as opens_sms_90d,
        sum(clicks_90d) filter (where channel = 'sms') as clicks_sms_90d,
        sum(opens) as opens,
        sum(clicks) as clicks,
        sum(purchases) as purchases,
        sum(closes) as closes,
        sum(complaints) as complaints,
        sum(unsubscribes) as unsubscribes,
        max(last_send_day) as last_send_day,
        max(last_open_day) as last_open_day,
        max(last_click_day) as last_click_day,
        max(last_purchase_day) as last_purchase_day,
        max(last_close_day) as last_close_day,
        max(last_complain_day) as last_complain_day,
        max(last_unsubscribe_day) as last_unsubscribe_day,
        (array_agg(
            channel order by last_send_day desc nulls last, sends desc, channel asc
        ))[1] as last_channel,
        (array_agg(channel order by sends desc, channel asc))[1] as usual_channel
    from by_channel
    group by client_id
),

-- What the client did; messages sent say nothing of that. Of one day only counts are known: within
-- it the events stand in the order in which they follow a message.
done as (
    select
        messages.client_id,
        (array_agg(answer.event order by answer.last_day desc, answer.step desc))[1] as last_event,
        (array_agg(answer.event order by answer.times desc, answer.step desc))[1] as usual_event
    from messages
    cross join
        lateral (
            values
            ('close', 4, messages.closes, messages.last_close_day),
            ('open', 5, messages.opens, messages.last_open_day),
            ('click', 6, messages.clicks, messages.last_click_day),
            ('purchase', 7, messages.purchases, messages.last_purchase_day),
            ('complain', 8, messages.complaints, messages.last_complain_day),
            ('unsubscribe', 9, messages.unsubscribes, messages.last_unsubscribe_day)
        ) as answer (event, step, times, last_day)
    where answer.times > 0
    group by messages.client_id
),

lately as (
    select
        sent.client_id,
        array_agg(
            happened.event || ' ' || sent.channel
            order by sent.event_day, happened.step, sent.channel
        ) as touches
    from feature.message_day as sent
    cross join
        lateral (
            values
            ('send', 1, sent.sends),
            ('soft_bounce', 2, sent.soft_bounces),
            ('hard_bounce', 3, sent.hard_bounces),
            ('close', 4, sent.closes),
            ('open', 5, sent.opens),
            ('click', 6, sent.clicks),
            ('purchase', 7, sent.purchases),
            ('complain', 8, sent.complaints),
            ('unsubscribe', 9, sent.unsubscribes)
        ) as happened (event, step, times)
    where
        happened.times > 0
        and sent.event_day < cast(:as_of as date)
        and sent.event_day >= cast(:as_of as date) - 90
        and sent.known_from <= cast(:as_of as date)
        and sent.known_to > cast(:as_of as date)
        and mod(abs(cast(hashint8(sent.client_id) as bigint)), cast(:shards as integer))
        = cast(:shard as integer)
    group by sent.client_id
),

engaged as (
    select distinct client_id
    from feature.message_day
    where
        event_day >= cast(:as_of as date)
        and event_day < cast(:as_of as date) + cast(:horizon_days as integer)
        and event_day < cast(:known_by as date)
        and known_from <= cast(:known_by as date)
        and known_to > cast(:known_by as date)
        and (
            ('open' = any(cast(:engaged_by as text[])) and opens > 0)
            or ('click' = any(cast(:engaged_by as text[])) and clicks > 0)
        )
),

label as (
    select
        cast(:as_of as date) + cast(:horizon_days as integer) <= cast(:known_by as date)
            as is_complete
)

select
    life.client_id,
    cast(life.seen_days as double precision) as seen_days,
    cast(life.days_since_last_purchase as double precision) as days_since_last_purchase,
    cast(life.total_quantity as double precision) as total_quantity,
    cast(life.total_spent as double precision) as total_spent,
    cast(life.avg_price as double precision) as avg_price,
    cast(purchases.max_price as double precision) as max_price,
    cast(life.purchase_days as double precision) as purchase_days,
    cast(coalesce(purchases.purchase_days_90d, 0) as double precision) as purchase_days_90d,
    cast(coalesce(messages.opens, 0) as double precision) as total_opens,
    cast(coalesce(messages.clicks, 0) as double precision) as total_clicks,
    cast(coalesce(messages.sends_7d, 0) as double precision) as sends_7d,
    cast(coalesce(messages.sends_30d, 0) as double precision) as sends_30d,
    cast(coalesce(messages.sends_90d, 0) as double precision) as sends_90d,
    cast(coalesce(messages.opens_7d, 0) as double precision) as opens_7d,
    cast(coalesce(messages.opens_30d, 0) as double precision) as opens_30d,
    cast(coalesce(messages.opens_90d, 0) as double precision) as opens_90d,
    cast(coalesce(messages.clicks_7d, 0) as double precision) as clicks_7d,
    cast(coalesce(messages.clicks_30d, 0) as double precision) as clicks_30d,
    cast(coalesce(messages.clicks_90d, 0) as double precision) as clicks_90d,
    cast(coalesce(messages.sends_email_90d, 0) as double precision) as sends_email_90d,
    cast(coalesce(messages.opens_email_90d, 0) as double precision) as opens_email_90d,
    cast(coalesce(messages.clicks_email_90d, 0) as double precision) as clicks_email_90d,
    cast(coalesce(messages.sends_mobile_push_90d, 0) as double precision) as sends_mobile_push_90d,
    cast(coalesce(messages.opens_mobile_push_90d, 0) as double precision) as opens_mobile_push_90d,
    cast(coalesce(messages.clicks_mobile_push_90d, 0) as double precision) as clicks_mobile_push_90d,
    cast(coalesce(messages.sends_web_push_90d, 0) as double precision) as sends_web_push_90d,
    cast(coalesce(messages.opens_web_push_90d, 0) as double precision) as opens_web_push_90d,
    cast(coalesce(messages.clicks_web_push_90d, 0) as double precision) as clicks_web_push_90d,
    cast(coalesce(messages.sends_sms_90d, 0) as double precision) as sends_sms_90d,
    cast(coalesce(messages.opens_sms_90d, 0) as double precision) as opens_sms_90d,
    cast(coalesce(messages.clicks_sms_90d, 0) as double precision) as clicks_sms_90d,
    cast(coalesce(messages.message_purchases_180d, 0) as double precision) as message_purchases_180d,
    cast(coalesce(messages.closes_180d, 0) as double precision) as closes_180d,
    cast(coalesce(messages.unsubscribes_180d, 0) as double precision) as unsubscribes_180d,
    cast(coalesce(messages.complaints_180d, 0) as double precision) as complaints_180d,
    cast(coalesce(messages.hard_bounces_180d, 0) as double precision) as hard_bounces_180d,
    cast(coalesce(messages.soft_bounces_180d, 0) as double precision) as soft_bounces_180d,
    cast(cast(:as_of as date) - messages.last_send_day as double precision) as days_since_send,
    cast(cast(:as_of as date) - messages.last_open_day as double precision) as days_since_open,
    cast(cast(:as_of as date) - messages.last_click_day as double precision) as days_since_click,
    cast(cast(:as_of as date) - messages.last_unsubscribe_day as double precision) as days_since_unsubscribe,
    cast(messages.opens_90d as double precision) / nullif(messages.sends_90d, 0) as open_rate_90d,
    cast(messages.clicks_90d as double precision) / nullif(messages.sends_90d, 0) as click_rate_90d,
    cast(messages.clicks_90d as double precision) / nullif(messages.opens_90d, 0)
        as click_to_open_90d,
    cast(messages.opens_30d as double precision) / nullif(messages.sends_30d, 0)
    - cast(messages.opens_90d as double precision) / nullif(messages.sends_90d, 0)
        as open_rate_trend,
    cast(messages.clicks_30d as double precision) / nullif(messages.sends_30d, 0)
    - cast(messages.clicks_90d as double precision) / nullif(messages.sends_90d, 0)
        as click_rate_trend,
    cast(
        coalesce(messages.opens > 0 or messages.clicks > 0, false) as integer
    ) as has_interaction,
    done.last_event,
    done.usual_event,
    messages.last_channel,
    messages.usual_channel,
    baskets.categories,
    lately.touches,
    case when label.is_complete then cast(engaged.client_id is not null as integer) end as target
from life
cross join label
left join purchases on life.client_id = purchases.client_id
left join baskets on life.client_id = baskets.client_id
left join messages on life.client_id = messages.client_id
left join done on life.client_id = done.client_id
left join lately on life.client_id = lately.client_id
left join engaged on life.client_id = engaged.client_id
order by life.client_id
