-- Demo summary: whose lists to show: of each arm who liked most
--                (and has not seen nearly everything), and somebody nobody knows
-- Grain:         one row per arm, and one for the unknown user
-- Inputs:        result.feed_recommendation, feature.user_topic_day, raw.user_data
-- Output:        who, user_id
-- Point in time: the newest published day
-- Parameters:    as_of date
with served as (
    select
        user_id,
        arm
    from result.feed_recommendation
    where as_of = cast(:as_of as date)
    group by
        user_id,
        arm
    having min(cardinality(post_ids)) >= 20
),

liked as (
    select
        user_id,
        sum(likes) as likes
    from feature.user_topic_day
    where known_from <= cast(:as_of as date) and known_to > cast(:as_of as date)
    group by user_id
),

keenest as (
    select distinct on (served.arm)
        served.arm,
        served.user_id
    from served
    inner join liked on served.user_id = liked.user_id
    order by
        served.arm asc,
        liked.likes desc,
        served.user_id asc
)

select
    arm as who,
    user_id
from keenest
union all
select
    'unknown user' as who,
    max(user_id) + 1000000 as user_id
from raw.user_data
order by
    who asc
