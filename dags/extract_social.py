"""Copy the feed's day that ended, with users and posts as they are now, into the warehouse.

**What it does.** For as_of D it closes the versions of users, posts, pictures and exclusions that
changed, and adds the new ones (a source may lack exclusions); copies the events of day D-1 and what
changed in the days before; checks the rows (events also against the users and posts known by D),
with offenders to quarantine; adds the day up.
A range in one go: `python -m jobs extract --from A --to B`. Of users and posts only the present can
be read: an old day after a newer one adds no version.

**If it fails:** yesterday's lists keep serving; model DAGs wait six hours for the day. `copy`: the
product database is down, a column is missing or retyped, or there are no rows; mend it, clear the
task. `check`: rows are wrong, or half of a table is gone; the message says which, the validation
pages have all results. `accept` can always be cleared.
"""

from datetime import timedelta

from airflow.sdk import TaskGroup, dag, task

from plugins import run


@dag(**run.DAILY, doc_md=__doc__, tags={"extract", "social", "impact:high"})
def extract_social():
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

    shown, checked, accepted = run.pages(), {}, {}
    for name in ("user_data", "post_text_df", "post_image", "feed_exclusion", "feed_data"):
        with TaskGroup(group_id=name):
            checked[name] = check(name)
            accepted[name] = accept.override(outlets=[run.table(f"raw.{name}")])(name)
            copy(name) >> checked[name] >> accepted[name] >> shown
    # Events are checked against the users and posts that are known by then.
    [accepted["user_data"], accepted["post_text_df"]] >> checked["feed_data"]


extract_social()
