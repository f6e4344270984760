"""Say which clients will click on a message within 14 days, at a stated precision, and why.

**What it does.** Waits for the day's purchases and messages; tries every way of handling that few
click (`bi.client_engagement_bench`), fits the best, promotes only what proved better and finds
somebody; scores all clients in `shards` parts; publishes `bi.client_engagement` in one step; notes
what became of the scores of 14 days ago. Several days: `airflow backfill create --dag-id
client_engagement --max-active-runs 1 --from-date A --to-date B`, both included.

**If it fails:** the newest published day keeps serving; nothing half-done is visible.
`day_loaded`: extract_shop has not brought the day, mend that first. `train`: the data or MLflow,
the live model is unharmed; `BadSetting` means NIGHTSHIFT_CLIENT_ENGAGEMENT_AIM. `score`, `publish`
can always be cleared. To serve the day without training, trigger it with `model_version`; to go
back one version, with `decision: rollback`.
"""

from airflow.sdk import dag

from plugins import run, scoring_night


@dag(**run.DAILY, params=run.PARAMS, doc_md=__doc__, tags={"model", "shop", "impact:high"})
def client_engagement():
    scoring_night.night("client_engagement", "apparel_purchases", "apparel_messages")


client_engagement()
