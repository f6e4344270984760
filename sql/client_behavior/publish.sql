-- client_behavior, one day as it is published
-- Grain:         one row per client scored; key client_id
-- Inputs:        staged (the day's scored parts), feature.purchase_day (365 days: what was spent)
-- Output:        the columns of result.client_behavior
-- Point in time: the parts were scored as of as_of; purchases before as_of and known by then
-- Parameters:    as_of date, model_version text
with spent as (
    select
        client_id,
        sum(spent) as spent
    from feature.purchase_day
    where
        event_day < cast(:as_of as date)
        and event_day >= cast(:as_of as date) - 365
        and known_from <= cast(:as_of as date)
        and known_to > cast(:as_of as date)
    group by client_id
),

fifth as (
    select
        staged.client_id,
        ntile(5) over (order by spent.spent desc, staged.client_id asc) as place
    from staged
    inner join spent on staged.client_id = spent.client_id
)

select
    cast(:as_of as date) as as_of,
    staged.client_id,
    staged.current_state,
    staged.since,
    cast(:as_of as date) - cast(staged.since at time zone 'UTC' as date) as days_in_state,
    staged.next_states,
    staged.next_probabilities,
    cast(staged.purchase_probability as real) as purchase_probability,
    cast(staged.churn_probability as real) as churn_probability,
    case
        when staged.churn_probability is null then 'gone'
        when staged.churn_probability >= 2.0 / 3 then 'high'
        when staged.churn_probability >= 1.0 / 3 then 'middle'
        else 'low'
    end as risk_band,
    case
        when fifth.place is null then 'none'
        when fifth.place = 1 then 'high'
        when fifth.place <= 3 then 'middle'
        else 'low'
    end as value_band,
    cast(:model_version as text) as model_version
from staged
left join fifth on staged.client_id = fifth.client_id
