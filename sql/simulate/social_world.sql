-- which simulated feed this database holds
-- Grain:         one row at most
-- Inputs:        none
-- Output:        table simulation.social_world in database app
-- Point in time: written once, before the first day
-- Parameters:    none
create table if not exists simulation.social_world (
    only_one boolean primary key default true check (only_one),
    seed bigint not null,
    users integer not null,
    start_day date not null
)
