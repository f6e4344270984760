-- champion insert_decision
-- Grain:         one row
-- Inputs:        the values given
-- Output:        one row in ops.promotion; its promotion_id and decided_at
-- Point in time: decided_at is the moment of the insert, taken under the job's lock
-- Parameters:    job text, effective_as_of date, actor text, decision text, reason text,
--                from_version text, to_version text, figures jsonb as text
insert into ops.promotion (
    job, effective_as_of, actor, decision, reason, from_version, to_version, figures
)
values (
    :job,
    cast(:effective_as_of as date),
    :actor,
    :decision,
    :reason,
    :from_version,
    :to_version,
    cast(:figures as jsonb)
)
returning promotion_id, decided_at
