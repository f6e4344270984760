"""The command line: what the DAGs do, by hand, without a scheduler."""

import getpass
import importlib
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Annotated

import typer
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from jobs import settings
from jobs.warehouse import engine, first_line

if TYPE_CHECKING:  # the champion package imports pandas and more, which most commands can spare
    from jobs.champion import Change

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Job = Annotated[str, typer.Argument(help="Job, for example purchase_propensity.")]
Day = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"])]
MaybeDay = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]
Tables = Annotated[list[str] | None, typer.Option("--table", help="One table; may be repeated.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the decision.")]


@app.callback()
def show_errors(
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    """Nightshift by hand: extract, run, promote, roll back, forget."""
    if not debug:
        sys.excepthook = in_one_line


def in_one_line(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Show an error as one line where its message says all; a programming error in full.

    An error class of our own is a message to whoever typed the command; Postgres calls
    operational what is not the programmer's doing.
    """
    if kind.__module__.startswith("jobs."):
        said = f"{kind.__name__}: {error}"
    elif isinstance(error, OperationalError):
        said = (
            f"Postgres: {first_line(error)}; is it up, and are the AIRFLOW_CONN_* settings right?"
        )
    else:
        sys.__excepthook__(kind, error, trace)
        return
    typer.secho(said, fg="red", err=True)


def source() -> Engine:
    """Return an engine for the product database."""
    return engine(settings.app_url())


def warehouse() -> Engine:
    """Return an engine for the warehouse."""
    return engine(settings.warehouse_url())


def job_module(name: str) -> ModuleType:
    """Return the module that runs job ``name``: jobs.<name>.job; a model of it is name.model.

    Raises:
        typer.BadParameter: naming the jobs there are.
    """
    known = sorted(
        path.stem
        for path in (settings.ROOT / "dags").glob("*.py")
        if (settings.ROOT / "jobs" / path.stem / "job.py").exists()
    )
    job = name.partition(".")[0]
    if job not in known:
        raise typer.BadParameter(f"no job {name}; there are: {', '.join(known)}")
    return importlib.import_module(f"jobs.{job}.job")


def model_module(name: str) -> ModuleType:
    """Return the module of the job that model ``name`` belongs to: a job's, or an arm's of one.

    Raises:
        typer.BadParameter: naming the models that the job has, if this is none of them.
    """
    module = job_module(name)
    with warehouse().connect() as connection:
        found = connection.execute(
            text("select distinct job from ops.model_version where split_part(job, '.', 1) = :job"),
            {"job": name.partition(".")[0]},
        )
        models = sorted(found.scalars())
    if models and name not in models:
        raise typer.BadParameter(f"no model {name}; there are: {', '.join(models)}")
    return module


@app.command()
def extract(
    as_of: MaybeDay = None,
    first: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"])] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"])] = None,
    table: Tables = None,
    allow_empty: Annotated[bool, typer.Option(help="Days without rows are in order.")] = False,
) -> None:
    """Load one night (--as-of D: the day before D), or a range of event days (--from, --to)."""
    from jobs.extract import job

    tables = _tables(table)
    if as_of and not (first or last):
        counts = job.extract(source(), warehouse(), as_of.date(), tables)
        for dag, family in (("extract_shop", job.SHOP), ("extract_social", job.SOCIAL)):
            if set(family) & set(tables):
                _mended(dag, as_of)
    elif first and last and not as_of:
        counts = job.load_range(
            source(),
            warehouse(),
            first.date(),
            last.date(),
            tables,
            allow_empty=allow_empty,
            report=typer.echo,
        )
    else:
        raise typer.BadParameter("either --as-of, or --from and --to")
    for name, found in counts.items():
        typer.echo(f"{name}: {found}")


@app.command()
def reload(
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"])],
    last: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"])],
    table: Tables = None,
) -> None:
    """Compare loaded days with the source; append late rows, close those it took back."""
    from jobs.extract import job

    for name, found in job.reload(
        source(), warehouse(), first.date(), last.date(), _tables(table)
    ).items():
        typer.echo(f"{name}: {found}")


@app.command()
def absent(
    table: str,
    reason: Reason,
    back: Annotated[bool, typer.Option(help="The table is there again.")] = False,
) -> None:
    """Declare that the owner does not have a source table, so that nothing waits for its rows."""
    _tables([table])
    statement = (
        "delete from ops.absent_table where table_name = :table and :reason <> ''"
        if back
        else "insert into ops.absent_table (table_name, reason) values (:table, :reason)"
        " on conflict (table_name) do nothing"
    )
    with warehouse().begin() as connection:
        connection.execute(text(statement), {"table": table, "reason": reason})


@app.command()
def run(
    job: Job,
    as_of: Day,
    retrain: Annotated[bool, typer.Option(help="Train anew though the day has a version.")] = False,
    model_version: Annotated[str | None, typer.Option(help="Score with this version.")] = None,
    shards: Annotated[int, typer.Option(min=1, max=64, help="Score in so many parts.")] = 1,
) -> None:
    """Train, gate, score and publish one day, as the DAG does."""
    from jobs import incidents

    module = job_module(job)
    incidents.require_loaded(warehouse(), job, as_of.date())
    published = module.run(
        warehouse(), as_of.date(), retrain=retrain, model_version=model_version, shards=shards
    )
    _mended(job, as_of)
    typer.echo(f"{job} {as_of.date()}: {published}")


@app.command()
def readout(as_of: Day) -> None:
    """Count what users did with what they were shown, compare the arms of the experiments."""
    from jobs import incidents
    from jobs.experiment import job

    incidents.require_loaded(warehouse(), job.JOB, as_of.date())
    job.make_days(warehouse(), as_of.date(), settings.raw_days())
    published = job.read_out(warehouse(), as_of.date())
    _mended(job.JOB, as_of)
    typer.echo(f"{job.JOB} {as_of.date()}: {published}")


@app.command()
def versions(job: Job) -> None:
    """List the job's model versions, newest first."""
    from jobs import champion

    job_module(job)
    found = champion.versions(warehouse(), job)
    typer.echo(found.to_string(index=False) if len(found) else f"{job}: no version yet")


@app.command()
def promote(
    job: Job,
    model_version: Annotated[str, typer.Argument(help="Version; `versions JOB` lists them.")],
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"])],
    reason: Reason,
    rescore: Annotated[bool, typer.Option(help="Publish the affected days anew.")] = True,
) -> None:
    """Make a version live from a day on, and publish the affected days anew."""
    from jobs import champion

    module = model_module(job)
    change = champion.promote(
        warehouse(), job, model_version, first.date(), getpass.getuser(), reason
    )
    _follow(module, job, change, rescore)


@app.command()
def rollback(
    job: Job,
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"])],
    reason: Reason,
    rescore: Annotated[bool, typer.Option(help="Publish the affected days anew.")] = True,
) -> None:
    """Make the version before the live one live again, and publish the affected days anew."""
    from jobs import champion

    module = model_module(job)
    change = champion.rollback(warehouse(), job, first.date(), getpass.getuser(), reason)
    _follow(module, job, change, rescore)


@app.command()
def visualize(
    job: Job,
    as_of: Day,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")],
) -> None:
    """Redraw every picture of the version live on a day, without training."""
    for path in job_module(job).visualize(warehouse(), as_of.date(), out):
        typer.echo(path)


@app.command()
def forget(
    client: Annotated[int | None, typer.Option(help="Client to erase.")] = None,
    user: Annotated[int | None, typer.Option(help="User to erase.")] = None,
) -> None:
    """Erase one person everywhere, and leave them out of every later extraction."""
    from jobs import forget as erasure
    from jobs import pages

    if (client is None) == (user is None):
        raise typer.BadParameter("either --client or --user")
    person, key = ("client", client) if client is not None else ("user", user)
    assert key is not None
    deleted = erasure.forget(warehouse(), person, key)
    pages.build(warehouse(), settings.pages_dir())
    for table, count in deleted.items():
        typer.echo(f"{table}: {count}")
    typer.echo(f"{sum(deleted.values())} rows deleted")


@app.command()
def retain(as_of: Day) -> None:
    """Merge result days older than 90 days into months; drop raw as NIGHTSHIFT_RAW_DAYS says."""
    from jobs import retention

    done = retention.retain(warehouse(), as_of.date(), settings.raw_days())
    for what, became in done.items():
        typer.echo(f"{what}: {became}")
    if not done:
        typer.echo("nothing is due")


@app.command()
def load(
    folder: Path,
    target_as_of: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="Day that labels in a file stand on; of a flat file of clients, by default today.",
        ),
    ] = None,
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day to take of the files' days."),
    ] = None,
    last: Annotated[
        datetime | None,
        typer.Option("--to", formats=["%Y-%m-%d"], help="Last day to take of the files' days."),
    ] = None,
) -> None:
    """Load real files into an empty product database, and their history into the warehouse.

    A flat file of clients with their labels goes through the imbalance bench instead.
    """
    from jobs.client_engagement import flat
    from jobs.load import job

    if (path := flat.file(folder)) is not None:
        day = (target_as_of or datetime.now(UTC)).date()
        version = flat.load(warehouse(), path, day, typer.echo)
        typer.echo(f"bi.client_engagement_bench has this table as model_version {version}")
        return
    days = job.load(
        engine(settings.setting("NIGHTSHIFT_SIMULATOR_URL")),
        source(),
        warehouse(),
        folder,
        target_as_of=target_as_of.date() if target_as_of else None,
        first_day=first.date() if first else None,
        last_day=last.date() if last else None,
        report=typer.echo,
    )
    typer.echo(
        f"loaded {days[0]} to {days[1]}; next: make up; python -m jobs run JOB --as-of "
        f"{days[1] + timedelta(days=1)}"
    )


@app.command()
def pages() -> None:
    """Rebuild the static validation pages."""
    from jobs import pages as static

    typer.echo(static.build(warehouse(), settings.pages_dir()))


@app.command()
def status() -> None:
    """Show each result table: newest day, freshness, whether it is stale."""
    with warehouse().connect() as connection:
        for row in connection.execute(text("select * from bi.status")).mappings():
            for name, value in row.items():
                typer.echo(f"{name:20} {value}")
            typer.echo("")


def _mended(dag: str, as_of: datetime) -> None:
    """Close the incidents of the day that was just done by hand."""
    from jobs import incidents

    if closed := incidents.resolve(warehouse(), dag, as_of.date()):
        typer.echo(f"{dag} {as_of.date()}: {closed} incidents closed")


def _tables(asked: list[str] | None) -> tuple[str, ...]:
    """Return the tables asked for, in the order they are loaded; all of them where none was."""
    from jobs.extract.tables import SHOP, SOCIAL

    known = (*SHOP, *SOCIAL)
    if unknown := set(asked or ()) - set(known):
        raise typer.BadParameter(f"no table {sorted(unknown)}; there are: {', '.join(known)}")
    return tuple(table for table in known if not asked or table in asked)


def _follow(module: ModuleType, job: str, change: "Change", rescore: bool) -> None:
    """Say what changed, and publish the affected days with the version now live."""
    from jobs import champion

    champion.sync_alias(warehouse(), job)
    now, days = change.to_version, change.affected_days
    typer.echo(f"{job}: {change.from_version} -> {now}; published days concerned: {len(days)}")
    for day in days if rescore else []:
        typer.echo(f"{day}: {module.run(warehouse(), day, model_version=now)}")


if __name__ == "__main__":
    app()
