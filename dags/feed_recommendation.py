"""Rank posts for every user and part of the day, by two models, split for an honest test.

**What it does.** Waits for the day's users, posts, feed and exclusions, if there are any; trains
both arms, promoting of each only what beat its champion and the best single source; lists up to 100
posts for every user and part of the day in `shards` parts; publishes `bi.feed_recommendation` in
one step; notes what the lists of the day before were worth. Several days: `airflow backfill create
--dag-id feed_recommendation --max-active-runs 1 --from-date A --to-date B`, both included.

**If it fails:** the newest published day keeps serving. `day_loaded`: extract_social has not
brought the day, mend that first. `train`: the data or MLflow. `score`, `publish` can always be
cleared. Trigger with `model_version` to serve an old version; `decision` is about one `arm`.
"""

from airflow.sdk import dag, task

from plugins import run


@dag(**run.DAILY, params=run.ARM_PARAMS, doc_md=__doc__, tags={"model", "social", "impact:high"})
def feed_recommendation():
    @task(**run.HEAVY_FIRST)
    def train(version: str | None) -> dict[str, str]:
        from jobs.feed_recommendation import job

        return job.train(run.warehouse(), run.as_of(), run.params()["retrain"], version)

    @task(**run.HEAVY_FIRST, map_index_template="shard {{ task.op_kwargs['shard'] }}")
    def score(versions: dict[str, str], shard: int) -> int:
        from jobs.feed_recommendation import serving

        return serving.score(run.warehouse(), run.as_of(), versions, shard, run.params()["shards"])

    @task(outlets=[run.table("result.feed_recommendation")])
    def publish(versions: dict[str, str]) -> int:
        from jobs.feed_recommendation import serving

        return serving.publish(run.warehouse(), run.as_of(), versions, run.params()["shards"])

    @task
    def mature() -> int:
        from jobs.feed_recommendation import job

        return job.mature(run.warehouse(), run.as_of())

    @task(**run.HEAVY_FIRST, map_index_template="{{ task.op_kwargs['day'] }}")
    def rescore(version: str, day: str) -> None:
        from jobs.feed_recommendation import job

        job.run(run.warehouse(), run.day(day), model_version=version)

    versions = train(decided := run.decide("feed_recommendation"))
    run.day_loaded("user_data", "post_text_df", "feed_exclusion", "feed_data") >> versions
    published = publish(versions)
    score.partial(versions=versions).expand(shard=run.shards()) >> published
    published >> [run.pages(), mature(), affected := run.affected_days("feed_recommendation")]
    rescore.partial(version=decided).expand(day=affected)


feed_recommendation()
