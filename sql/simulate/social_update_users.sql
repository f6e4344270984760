-- simulated feed: users turn a year older or move
-- Grain:         one row per user that changes
-- Inputs:        the arrays, one element per user
-- Output:        user_data with the new age and city
-- Point in time: the old values were there until the day before
-- Parameters:    users bigint[], ages integer[], cities text[] (null: as it was)
update user_data
set
    age = coalesce(changed.age, user_data.age),
    city = coalesce(changed.city, user_data.city)
from
    (
        select
            each_change.id,
            max(each_change.age) as age,
            max(each_change.city) as city
        from
            (
                select
                    unnest(cast(:users as bigint[])) as id,
                    unnest(cast(:ages as integer[])) as age,
                    unnest(cast(:cities as text[])) as city
            ) as each_change
        group by each_change.id
    ) as changed
where user_data.id = changed.id
