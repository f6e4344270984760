-- Demo summary: what serves each action of a post beside the baselines and what its picture gains
-- Grain:         one row per action and candidate: what serves, the same without or with pictures, the
--                best of the others, and the baselines
-- Inputs:        bi.post_conversion_experiments
-- Output:        action, candidate, log_loss of a view with its 95 % interval, spearman, within_topic
--                (spearman within each topic), lift (of the tenth predicted highest), gain from
--                pictures with its interval, posts, serves
-- Point in time: posts published after all that was learned from, of the newest training
-- Parameters:    none
with newest as (
    select
        compared.*,
        compared.model || case when compared.text = 'none' then '' else ' on ' || compared.text end
        || case when compared.with_pictures then ' and pictures' else '' end as candidate,
        row_number() over (
            partition by compared.action
            order by compared.log_loss, compared.model, compared.text, compared.with_pictures
        ) as place,
        bool_or(compared.serves) over (
            partition by compared.action, compared.model, compared.text
        ) as serves_either
    from bi.post_conversion_experiments as compared
    where
        compared.as_of = (
            select max(other.as_of) from bi.post_conversion_experiments as other
        )
)

select
    action,
    candidate,
    to_char(log_loss, 'FM0.0000') || ' ' || to_char(log_loss_low, 'FM0.0000')
    || '-' || to_char(log_loss_high, 'FM0.0000') as log_loss_95,
    to_char(spearman, 'FM0.00') as spearman,
    to_char(spearman_within, 'FM0.00') as within_topic,
    to_char(top_decile_lift, 'FM0.00') as lift,
    coalesce(
        to_char(picture_gain, 'FMSG0.0000') || ' ' || to_char(picture_gain_low, 'FMSG0.0000')
        || ' to ' || to_char(picture_gain_high, 'FMSG0.0000'),
        ''
    ) as gain_from_pictures,
    posts,
    case when serves then 'serves' else '' end as serves
from newest
where serves_either or place <= 2 or model in ('global_rate', 'topic_rate')
order by
    action,
    place
