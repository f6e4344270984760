-- Demo summary: every candidate of client_behavior on the same later events
-- Grain:         one row per task and candidate, the best of each task first
-- Inputs:        bi.client_behavior_candidates
-- Output:        task, candidate, log_loss with its 95 % interval, roc_auc, pr_auc, brier, ece, rows,
--                share (in what serves)
-- Point in time: the 30 days before the newest as_of that a model was trained for
-- Parameters:    none
select
    compared.task,
    compared.candidate,
    to_char(compared.log_loss, 'FM0.0000') || ' ' || to_char(compared.log_loss_low, 'FM0.0000')
    || '-' || to_char(compared.log_loss_high, 'FM0.0000') as log_loss,
    to_char(compared.roc_auc, 'FM0.000') as roc_auc,
    to_char(compared.pr_auc, 'FM0.000') as pr_auc,
    to_char(compared.brier, 'FM0.0000') as brier,
    to_char(compared.ece, 'FM0.0000') as ece,
    compared.rows,
    case when compared.share > 0 then to_char(compared.share, 'FM0.00') else '' end as share
from bi.client_behavior_candidates as compared
where compared.as_of = (select max(newest.as_of) from bi.client_behavior_candidates as newest)
order by
    compared.task asc,
    compared.log_loss asc
