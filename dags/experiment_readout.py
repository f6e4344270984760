"""Read out the experiments: how each arm's lists did, and whether the difference is real.

**What it does.** Makes the coming days' partitions of the impression log (and drops those older
than `NIGHTSHIFT_RAW_DAYS`). Waits for the day's feed events; counts, for every user who was shown
something on the day before, what was viewed and liked of it; publishes `bi.experiment_daily` (each
arm, that day) and `bi.experiment_result` (each arm against the first, since the experiment began).
Nights that were left out are counted with the next one. `python -m jobs readout --as-of D` does it
by hand.

**If it fails:** the newest published day keeps serving, and no list waits for it. `day_loaded`:
extract_social has not brought the day. `NothingToPublish`: nobody was served on that day although
somebody was before: look at the feed service and its journal. `CheckFailed`: the message names the
figures that make no sense. `make_days`: impressions go to the default partition meanwhile, none is
lost. All tasks can always be cleared.
"""

from airflow.sdk import dag, task

from plugins import run


@dag(**run.DAILY, doc_md=__doc__, tags={"experiment", "feed", "impact:low"})
def experiment_readout():
    @task
    def make_days() -> int:
        from jobs import settings
        from jobs.experiment import job

        return job.make_days(run.warehouse(), run.as_of(), settings.raw_days())

    @task(outlets=[run.table("result.experiment_daily"), run.table("result.experiment_result")])
    def read_out() -> int:
        from jobs.experiment import job

        return job.read_out(run.warehouse(), run.as_of())

    make_days()
    run.day_loaded("feed_data") >> read_out() >> run.pages()


experiment_readout()
