"""Copy the shop's day that ended from the product database into the warehouse.

**What it does.** For as_of D it copies day D-1 of messages, purchases and client events, and what
changed in the days before; checks the rows; quarantines offenders; adds the day to `raw` and its
daily aggregates to `feature`; rebuilds the validation pages.
A whole range: `airflow backfill create`, or `python -m jobs extract --from A --to B` in one go.

**If it fails:** yesterday's lists keep serving; model DAGs wait six hours for the day. `copy`: the
product database is down, a column is missing or retyped, or the day is empty; mend the source,
then clear the task. `check`: the rows are wrong; the message names table, day, expectation and
sample keys, all results are on the validation pages. `accept` can always be cleared.
"""

from datetime import timedelta

from airflow.sdk import TaskGroup, dag, task

from plugins import run

TABLES = ("apparel_messages", "apparel_purchases", "client_event")


@dag(**run.DAILY, doc_md=__doc__, tags={"extract", "shop", "impact:high"})
def extract_shop():
    @task(execution_timeout=timedelta(hours=3))
    def copy(name: str) -> dict[str, int]:
        from jobs.extract import job

        return job.copy_table(run.app(), run.warehouse(), name, run.as_of())

    @task
    def check(name: str) -> dict[str, int]:
        from jobs.extract import job

        return job.check_table(run.warehouse(), name, run.as_of())

    @task
    def accept(name: str) -> dict[str, int]:
        from jobs.extract import job

        return job.accept_table(run.warehouse(), name, run.as_of())

    shown, accepted = run.pages(), {}
    for name in TABLES:
        with TaskGroup(group_id=name):
            accepted[name] = accept.override(outlets=[run.table(f"raw.{name}")])(name)
            copy(name) >> check(name) >> accepted[name] >> shown
    # Purchases look up the message that they are tied to.
    accepted["apparel_messages"] >> accepted["apparel_purchases"]


extract_shop()
