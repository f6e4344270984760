-- post_conversion, the candidates of a training
-- Grain:         one row per action and candidate
-- Inputs:        result.post_conversion_experiments
-- Output:        its columns
-- Point in time: as the training wrote them
-- Parameters:    model_version text
select
    action,
    model,
    text,
    with_pictures,
    serves,
    held_log_loss,
    held_posts,
    log_loss,
    log_loss_low,
    log_loss_high,
    spearman,
    spearman_within,
    absolute_error,
    calibration_error,
    top_decile_lift,
    interval_coverage,
    picture_gain,
    picture_gain_low,
    picture_gain_high,
    posts,
    views
from result.post_conversion_experiments
where model_version = cast(:model_version as text)
order by
    action,
    model,
    text,
    with_pictures
