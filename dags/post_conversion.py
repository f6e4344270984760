"""Predict what share of a post's views ends in a like, share, comment or hide, and why.

**What it does.** Waits for the day's posts, pictures and feed; embeds new pictures; compares models
on words, text vectors and pictures on the same later posts (`bi.post_conversion_experiments`), and
promotes only what foretells them better; scores all posts of 180 days in `shards` parts; publishes
`bi.post_conversion`; notes what became of the rates of 7 days ago. Several days: `airflow backfill
create --dag-id post_conversion --max-active-runs 1 --from-date A --to-date B`, both included.

**If it fails:** the newest published day keeps serving; nothing half-done is visible.
`day_loaded`: extract_social has not brought the day, mend that first. `train`: the data or MLflow;
`BadSetting` names the setting of an encoder. Pictures that can't be read never fail a night: they
are in `quarantine.post_picture` with the reason. `score`, `publish` can always be cleared. To serve
the day without training, trigger it with `model_version`; to go back one version, with `decision:
rollback`.
"""

from airflow.sdk import dag

from plugins import run, scoring_night


@dag(**run.DAILY, params=run.PARAMS, doc_md=__doc__, tags={"model", "social", "impact:high"})
def post_conversion():
    scoring_night.night("post_conversion", "post_text_df", "post_image", "feed_data")


post_conversion()
