-- What an analyst asked for: reasons in words, users behind an experiment, truer comments.

create view bi.feed_source as
select
    code,
    source,
    reason_code,
    words
from result.feed_source;
comment on view bi.feed_source is 'Where a recommended post came from, and the reason in words';
comment on column bi.feed_source.code is 'Number in bi.impression.source';
comment on column bi.feed_source.source is 'Candidate source that ranked the post best';
comment on column bi.feed_source.reason_code is 'Reason that a product can show';
comment on column bi.feed_source.words is 'The reason in words';

grant select on experiment.user_day to migrator;
create view bi.experiment_user_day as
select
    experiment,
    as_of - 1 as event_day,
    as_of,
    user_id,
    arm,
    in_both,
    impressions,
    hits,
    views,
    likes
from experiment.user_day;
comment on view bi.experiment_user_day is 'What each user of an experiment was shown on a day and did with it: bi.experiment_daily and bi.experiment_result are summed from here';
comment on column bi.experiment_user_day.experiment is 'Experiment';
comment on column bi.experiment_user_day.event_day is 'UTC day';
comment on column bi.experiment_user_day.as_of is 'Run that counted it: the day after; events that arrived later are not in it';
comment on column bi.experiment_user_day.user_id is 'User';
comment on column bi.experiment_user_day.arm is 'Arm of the day''s first answer';
comment on column bi.experiment_user_day.in_both is 'Whether answers of that day came from different arms; such users are left out of the comparison';
comment on column bi.experiment_user_day.impressions is 'Answers of the feed';
comment on column bi.experiment_user_day.hits is 'Answers of whose first five posts the user liked one afterwards, on the same day';
comment on column bi.experiment_user_day.views is 'Posts shown that day and viewed (or liked) afterwards on that day, each once';
comment on column bi.experiment_user_day.likes is 'Those of them that were liked';

comment on view bi.experiment_daily is 'How each arm of each experiment did on the newest published day, counted once, the night after; later rows of that day are not in it';
comment on view bi.experiment_result is 'Each arm against the first one, from the experiment''s first day to the newest published one; each day counted the night after it (bi.experiment_user_day)';
comment on column bi.feed_recommendation.reason_code is 'Reason that a product can show; bi.feed_source has the words';
comment on column bi.feed_recommendation_history.reason_code is 'Reason that a product can show; bi.feed_source has the words';
comment on column bi.impression.reason_code is 'Reason that a product can show; bi.feed_source has the words';
comment on column bi.impression.source is 'Its candidate source: bi.feed_source.code';
comment on column bi.feed_recommendation.score is 'What the list is ordered by before topics are spread and fresh posts pulled up; comparable within one version only';
comment on column bi.feed_recommendation_history.score is 'What the list is ordered by before topics are spread and fresh posts pulled up; comparable within one version only';
comment on column bi.feed_recommendation.topic is 'Topic of the post, as known on as_of; null where it has none (bi.feed_topic_day calls that unknown)';
comment on column bi.feed_recommendation_history.topic is 'Topic of the post, as known on as_of; null where it has none (bi.feed_topic_day calls that unknown)';
comment on column bi.status.rows is 'Rows of that day in the result table; of the feed, lists (users times parts of the day)';
comment on column bi.status.model_version is 'Version that made that day; of a table of two arms both, with a comma between them';
comment on column bi.data_profile.table_name is 'Table of the product as it was copied';
comment on column bi.data_profile.top_values is 'The five most frequent values with their counts; values that occur once are left out';
comment on column bi.data_profile.mean_change is 'Mean against the day before, as a share; of identifiers and codes it says nothing';
comment on column bi.model_quality.name is 'model, or the arm: what was trained that night; champion: what served until then, where that is another version; else a baseline';
comment on column bi.model_quality.rows is 'Rows it was measured on; of lists, users';
comment on column bi.purchase_propensity.reasons is 'Top five features: value (null: there is none, a client never mailed has no days since the last mail) and signed contribution to the log-odds';
comment on column bi.purchase_propensity_history.reasons is 'Top five features: value (null: there is none, a client never mailed has no days since the last mail) and signed contribution to the log-odds';
