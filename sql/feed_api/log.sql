-- feed_api log
-- Grain:         one row per answer; key request_id, served_at
-- Inputs:        lines of the journal, as a JSON list
-- Output:        experiment.impression; a line that is there already adds nothing
-- Point in time: served_at is the moment the list was asked for
-- Parameters:    lines json
insert into experiment.impression (
    request_id,
    served_at,
    user_id,
    experiment,
    arm,
    as_of,
    day_part,
    model_version,
    list,
    post_ids,
    positions,
    sources,
    propensities
)
select
    line.request_id,
    line.served_at,
    line.user_id,
    line.experiment,
    line.arm,
    line.as_of,
    line.day_part,
    line.model_version,
    line.list,
    line.post_ids,
    line.positions,
    line.sources,
    line.propensities
from json_populate_recordset(cast(null as experiment.impression), :lines) as line
on conflict do nothing
