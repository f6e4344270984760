-- Which users' days of the feed changed: the transaction's table feed_user_change
-- Grain:         one row per user_id and event_day with a row that came or went
-- Inputs:        raw.feed_data
-- Output:        feed_user_change(user_id, event_day); empty where known_at is null: of days that
--                are loaded on time everything is new
-- Point in time: changes are dated by when they were known, never by when they happened
-- Parameters:    first_day date, last_day date, known_at date or null
create temporary table feed_user_change on commit drop as
select distinct
    user_id,
    event_day
from raw.feed_data
where
    event_day between cast(:first_day as date) and cast(:last_day as date)
    and (known_from = cast(:known_at as date) or known_to = cast(:known_at as date))
