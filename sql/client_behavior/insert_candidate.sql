-- client_behavior, a candidate of a training and what it was worth
-- Grain:         one row
-- Inputs:        the values given
-- Output:        one row in result.client_behavior_candidates; that of a version named again is replaced
-- Point in time: written by the training of as_of
-- Parameters:    those of the table's columns
insert into result.client_behavior_candidates (
    model_version,
    as_of,
    task,
    candidate,
    share,
    held_log_loss,
    held_rows,
    log_loss,
    log_loss_low,
    log_loss_high,
    roc_auc,
    pr_auc,
    brier,
    ece,
    rows
)
values (
    cast(:model_version as text),
    cast(:as_of as date),
    cast(:task as text),
    cast(:candidate as text),
    cast(:share as double precision),
    cast(:held_log_loss as double precision),
    cast(:held_rows as integer),
    cast(:log_loss as double precision),
    cast(:log_loss_low as double precision),
    cast(:log_loss_high as double precision),
    cast(:roc_auc as double precision),
    cast(:pr_auc as double precision),
    cast(:brier as double precision),
    cast(:ece as double precision),
    cast(:rows as integer)
)
on conflict (model_version, task, candidate) do update set
    as_of = excluded.as_of,
    share = excluded.share,
    held_log_loss = excluded.held_log_loss,
    held_rows = excluded.held_rows,
    log_loss = excluded.log_loss,
    log_loss_low = excluded.log_loss_low,
    log_loss_high = excluded.log_loss_high,
    roc_auc = excluded.roc_auc,
    pr_auc = excluded.pr_auc,
    brier = excluded.brier,
    ece = excluded.ece,
    rows = excluded.rows
