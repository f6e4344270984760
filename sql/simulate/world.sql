-- which simulated world this database holds
-- Grain:         one row at most
-- Inputs:        none
-- Output:        table simulation.world in database app
-- Point in time: written once, before the first day
-- Parameters:    none
create table if not exists simulation.world (
    only_one boolean primary key default true check (only_one),
    seed bigint not null,
    clients integer not null,
    start_day date not null
)
