-- simulated feed: the users, as an owner keeps them: only their present state
-- Grain:         one row per user
-- Inputs:        none
-- Output:        table user_data in database app
-- Point in time: a row appears on the day of registration and changes on later ones
-- Parameters:    none
create table if not exists user_data (
    id bigint primary key,
    age integer,
    city text,
    country text,
    exp_group integer,
    gender integer,
    os text,
    source text
)
