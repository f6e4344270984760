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

from airflow.sdk import dag, task

from plugins import run


@dag(**run.DAILY, params=run.PARAMS, doc_md=__doc__, tags={"model", "shop", "impact:high"})
def purchase_propensity():
    @task(**run.HEAVY)
    def train(version: str | None) -> str:
        from jobs.purchase_propensity import job

        return job.train(run.warehouse(), run.as_of(), run.params()["retrain"], version)

    @task(**run.HEAVY, map_index_template="shard {{ task.op_kwargs['shard'] }}")
    def score(version: str, shard: int) -> int:
        from jobs.purchase_propensity import job

        return job.score(run.warehouse(), run.as_of(), version, shard, run.params()["shards"])

    @task(outlets=[run.table("result.purchase_propensity")])
    def publish(version: str) -> int:
        from jobs.purchase_propensity import job

        return job.publish(run.warehouse(), run.as_of(), version, run.params()["shards"])

    @task
    def mature() -> int:
        from jobs.purchase_propensity import job

        return job.mature(run.warehouse(), run.as_of())

    @task(**run.HEAVY, map_index_template="{{ task.op_kwargs['day'] }}")
    def rescore(version: str, day: str) -> None:
        from jobs.purchase_propensity import job

        job.run(run.warehouse(), run.day(day), model_version=version)

    version = train(run.decide("purchase_propensity"))
    run.day_loaded("apparel_purchases", "apparel_messages") >> version
    published = publish(version)
    score.partial(version=version).expand(shard=run.shards()) >> published
    published >> [run.pages(), mature(), affected := run.affected_days("purchase_propensity")]
    rescore.partial(version=version).expand(day=affected)


purchase_propensity()
