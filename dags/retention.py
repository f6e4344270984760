"""Merge old days of the results into months; drop raw whose time is over.

**What it does.** Months of `result.*` whose days are all older than 90 days become one partition
each; readers see the same rows throughout. With `NIGHTSHIFT_RAW_DAYS` set, days of `raw` older than
that are dropped. Vectors of texts go 90 days after their encoder was trained, unless it is live. A
month that readers or writers were busy with is put off, and is due again the next night; the task
fails where that goes on for more than a week. XCom says what became of each.
By hand: `python -m jobs retain --as-of D`.

**If it fails:** nothing that is served or loaded waits for it, and no day is lost; partitions only
grow in number, by one a day and table. Clear the task when it suits, or let the next night do it.
After `PutOffTooLong`, look for who is in the way (docs/on-call.md, "A month that is put off").
"""

from airflow.sdk import dag, task

from plugins import run


@dag(**run.DAILY, doc_md=__doc__, tags={"retention", "impact:low"})
def retention():
    @task
    def retain() -> dict[str, str]:
        from jobs import retention, settings

        return retention.retain(run.warehouse(), run.as_of(), settings.raw_days())

    retain()


retention()
