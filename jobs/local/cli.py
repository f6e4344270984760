"""The commands behind the Makefile: the platform on this machine."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from jobs.local import services, state, up
from jobs.local.progress import step
from jobs.local.state import LocalError
from jobs.settings import ROOT, read_env_file, state_dir

app = typer.Typer(
    help="The platform on this machine: Postgres, Airflow, MLflow, pages.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command("up")
def up_command() -> None:
    """Start everything that does not run and print where it is."""

    def work(folder: Path) -> None:
        platform = up.up(folder)
        typer.echo("\n" + up.where_to_look(platform))

    guarded("make up", work)


@app.command("down")
def down_command() -> None:
    """Stop everything, whoever started it."""
    try:
        with step("stopping") as report:
            stopped = up.down(state_dir())
            report(", ".join(stopped) or "nothing was running")
    except LocalError as error:
        fail(error)


@app.command("databases")
def databases_command() -> None:
    """Start Postgres and make the databases, without Airflow and MLflow."""
    guarded("make databases", up.prepare_databases)


@app.command("demo")
def demo_command(
    clients: Annotated[int | None, typer.Option(help="Size of the simulated shop.")] = None,
    users: Annotated[int | None, typer.Option(help="Size of the simulated feed.")] = None,
) -> None:
    """Bring everything up, simulate a product, load its history, run its last nights."""
    from jobs.local import demo

    guarded("make demo", lambda folder: demo.demo(folder, demo.today(), clients, users))


@app.command("clean")
def clean_command() -> None:
    """Stop everything and delete the state folder."""
    down_command()
    folder = state_dir()
    if folder == ROOT or ROOT.is_relative_to(folder):
        fail(LocalError(f"NIGHTSHIFT_STATE={folder} holds the project itself: not deleting it"))
    if folder.exists() and not (folder / "secrets").is_dir():
        fail(LocalError(f"{folder} does not look like a state folder: delete it by hand"))
    state.remove(folder)
    typer.echo(f"deleted {folder}")


@app.command(
    "airflow",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def airflow_command(context: typer.Context) -> None:
    """Run Airflow's own command line against this machine's Airflow."""
    found = read_env_file()
    if not found:
        fail(LocalError(f"nothing is set up in {state_dir()}: run `make up` first"))
    command = [sys.executable, "-m", "airflow", *context.args]
    os.execve(sys.executable, command, {**services.inherited(), **found})


def guarded(command: str, work: Callable[[Path], object]) -> None:
    """Do ``work`` on the locked state folder; end with a plain message where it can't be done."""
    try:
        with state.locked(state_dir(), command) as folder:
            work(folder)
    except LocalError as error:
        fail(error)
    except KeyboardInterrupt:
        typer.echo(f"\ninterrupted; `{command}` goes on from here, `make down` stops what runs")
        raise typer.Exit(130) from None


def fail(error: LocalError) -> NoReturn:
    """Print the message and end with status 1."""
    typer.secho(f"error: {error}", fg="red", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
