"""Say where each client stands in the shop, what comes next, who will buy and who will leave.

**What it does.** Waits for the day's events, messages and purchases; compares Markov chains,
regression, trees and an LSTM on the same later events (`bi.client_behavior_candidates`), and
promotes only what foretells them better; scores all clients seen in 180 days in `shards` parts;
publishes `bi.client_behavior` and `bi.behavior_transition`; notes what became of the scores of 30
days ago. Several days: `airflow backfill create --dag-id client_behavior --max-active-runs 1
--from-date A --to-date B`, both included.

**If it fails:** the newest published day keeps serving; nothing half-done is visible.
`day_loaded`: extract_shop has not brought the day, mend that first. `train`: the data or MLflow,
the live model is unharmed; killed in the middle, it begins anew and ends the same. `StatesChanged`:
NIGHTSHIFT_CLIENT_BEHAVIOR_STATES was changed; the message says what to type. `score`, `publish` can
always be cleared. To serve the day without training, trigger it with `model_version`; to go back
one version, with `decision: rollback`.
"""

from airflow.sdk import dag

from plugins import run, scoring_night


@dag(**run.DAILY, params=run.PARAMS, doc_md=__doc__, tags={"model", "shop", "impact:high"})
def client_behavior():
    scoring_night.night("client_behavior", "client_event", "apparel_messages", "apparel_purchases")


client_behavior()
