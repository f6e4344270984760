-- client_engagement, one day as it is published
-- Grain:         one row per client scored; key client_id
-- Inputs:        staged (the day's scored parts), ops.model_version (the version's threshold or
--                budget), feature.message_day (180 days: where and when the client answers)
-- Output:        the columns of result.client_engagement
-- Point in time: the parts were scored as of as_of; messages before as_of and known by then
-- Parameters:    as_of date, model_version text
with chosen as (
    select
        cast(params ->> 'threshold' as double precision) as threshold,
        cast(params ->> 'budget' as bigint) as budget
    from ops.model_version
    where model_version = cast(:model_version as text)
),

answered as (
    select
        client_id,
        channel,
        sum(sends) as sends,
        sum(opens + clicks) as answers
    from feature.message_day
    where
        event_day < cast(:as_of as date)
        and event_day >= cast(:as_of as date) - 180
        and known_from <= cast(:as_of as date)
        and known_to > cast(:as_of as date)
    group by
        client_id,
        channel
),

usual as (
    select
        channel,
        coalesce(cast(sum(answers) as double precision) / nullif(sum(sends), 0), 0) as rate
    from answered
    group by channel
),

-- Few answers say little of a client: ten messages answered as usual stand beside the client's own.
channels as (
    select distinct on (answered.client_id)
        answered.client_id,
        answered.channel as best_channel,
        answered.answers as best_channel_answers
    from answered
    inner join usual on answered.channel = usual.channel
    where answered.answers > 0
    order by
        answered.client_id asc,
        (answered.answers + 10 * usual.rate) / (answered.sends + 10) desc,
        answered.channel asc
),

hours as (
    select distinct on (counted.client_id)
        counted.client_id,
        counted.hour as best_hour,
        counted.answers as best_hour_answers
    from (
        select
            days.client_id,
            answer.hour,
            count(*) as answers
        from feature.message_day as days
        cross join lateral unnest(days.answer_hours) as answer (hour)
        where
            days.event_day < cast(:as_of as date)
            and days.event_day >= cast(:as_of as date) - 180
            and days.known_from <= cast(:as_of as date)
            and days.known_to > cast(:as_of as date)
        group by
            days.client_id,
            answer.hour
    ) as counted
    order by
        counted.client_id asc,
        counted.answers desc,
        counted.hour asc
),

ranked as (
    select
        client_id,
        probability,
        reason_features,
        reason_values,
        reason_contributions,
        reason_rest,
        row_number() over (order by probability desc, client_id asc) as place,
        cast(ntile(10) over (order by probability desc, client_id asc) as smallint) as decile
    from staged
)

select
    cast(:as_of as date) as as_of,
    ranked.client_id,
    ranked.probability,
    case
        when chosen.budget is null then ranked.probability >= chosen.threshold
        else ranked.place <= chosen.budget
    end as engaged,
    ranked.decile,
    channels.best_channel,
    coalesce(channels.best_channel_answers, 0) as best_channel_answers,
    hours.best_hour,
    coalesce(hours.best_hour_answers, 0) as best_hour_answers,
    ranked.reason_features,
    ranked.reason_values,
    ranked.reason_contributions,
    ranked.reason_rest,
    cast(:model_version as text) as model_version
from ranked
cross join chosen
left join channels on ranked.client_id = channels.client_id
left join hours on ranked.client_id = hours.client_id
