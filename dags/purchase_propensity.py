"""Score every client's chance to buy within 90 days, with the reasons.

**What it does.** Waits for the day's purchases and messages; trains, promoting only what proved
better; scores all clients in `shards` parts; publishes `bi.purchase_propensity` in one step; notes
what became of the scores of 90 days ago. Several days: `airflow backfill create --dag-id
purchase_propensity --max-active-runs 1 --from-date A --to-date B`, both included.

**If it fails:** the newest published day keeps serving; nothing half-done is visible.
`day_loaded`: extract_shop has not brought the day, mend that first. `train`: the data or MLflow,
the live model is unharmed. `score`, `publish` can always be cleared. To serve the day without
training, trigger it with `model_version`; to go back one version, with `decision: rollback`.
"""

from airflow.sdk import dag

from plugins import run, scoring_night


@dag(**run.DAILY, params=run.PARAMS, doc_md=__doc__, tags={"model", "shop", "impact:high"})
def purchase_propensity():
    scoring_night.night("purchase_propensity", "apparel_purchases", "apparel_messages")


purchase_propensity()
