-- Which lives change from known_from on, and when: fills the transaction's table life_change
-- Grain:         one row per client_id and as_of at which its life changes
-- Inputs:        feature.purchase_day, feature.message_day, feature.client_life
-- Output:        life_change(client_id, as_of)
-- Point in time: changes are dated by when they were known, never by when they happened
-- Parameters:    known_from date
insert into life_change (client_id, as_of)
select
    client_id,
    known_from
from feature.purchase_day
where known_from >= cast(:known_from as date)
union
select
    client_id,
    known_to
from feature.purchase_day
where known_to >= cast(:known_from as date) and known_to < 'infinity'
union
select
    messages.client_id,
    min(messages.known_from)
from feature.message_day as messages
where
    messages.known_from >= cast(:known_from as date)
    and not exists (
        select from feature.client_life as life
        where
            life.client_id = messages.client_id
            and life.valid_from < cast(:known_from as date)
            and life.first_message_day is not null
    )
group by messages.client_id
