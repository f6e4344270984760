"""The pages of models: the pictures of the newest version that each job has trained."""

import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Engine

from jobs.pages.html import Html, Row, badge, file_name, image, page, tag, write
from jobs.settings import MissingSetting
from jobs.warehouse import rows, sql_file

log = logging.getLogger(__name__)

# What takes longer is left to the next build: nobody's night waits for pictures.
FETCHING_SECONDS = 30
NONE_KEPT = "MLflow has no pictures of this version."
NOT_FETCHED = "The pictures could not be fetched from MLflow. The next build tries again."
CARDS = "grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr))"
STYLE = """
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,520px),1fr));
gap:16px;margin-top:18px}
figure{margin:0;padding:14px 16px;background:var(--card);border:1px solid var(--line);
border-radius:10px}
figcaption{font-weight:600;margin-bottom:10px}
img{display:block;width:100%;height:auto;padding:6px;background:#fff;border-radius:6px}
"""


def build(warehouse: Engine, out: Path) -> list[Row]:
    """Write a page per model under ``out``; return their newest versions, for the index.

    Pictures are fetched once per version, and go when a newer one takes its place. Where they
    can't be had, the page says so.
    """
    folder = out / "models"
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        with warehouse.connect() as connection:
            newest = rows(connection, sql_file("pages/models.sql"))
        give_up = time.monotonic() + FETCHING_SECONDS
        for version in newest:
            kept = folder / file_name(version["model_version"])
            missing = None
            if not kept.is_dir():
                missing = _fetch(version, kept) if time.monotonic() < give_up else NOT_FETCHED
            told = _model_page(version, sorted(kept.glob("*.png")), missing)
            write(out / _file(version["job"]), told)
        _clear(folder, {file_name(version["model_version"]) for version in newest})
    return newest


def section(newest: Sequence[Row]) -> list[Html]:
    """Return what the index says of the models: nothing where there is none."""
    if not newest:
        return []
    cards = (
        tag(
            "a",
            tag("h3", tag("span", version["job"], class_="name"), _live(version)),
            tag("p", version["model_version"], class_="name"),
            tag("p", f"trained for {version['as_of']}", class_="sub"),
            href=_file(version["job"]),
            class_="card",
        )
        for version in newest
    )
    return [
        tag("h2", "Models"),
        tag("p", "The newest version of each, with its pictures.", class_="sub"),
        # Wider than the cards of tables: a model's name is longer and must not break.
        tag("div", *cards, class_="cards", style=CARDS),
    ]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one build at a time do what the block does; a killed one holds up nobody."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Where the file system knows no locks, two builds may both fetch; the next one mends it.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _fetch(version: Row, kept: Path) -> str | None:
    """Put the version's pictures into the folder ``kept``, all or none; return why none, or None.

    Pictures are no reason for a build to fail.
    """
    # Importing it takes a second, and MLflow seconds; most builds need neither.
    from jobs import champion

    name, run_id = version["model_version"], version["mlflow_run_id"]
    try:
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".fetching-") as temporary:
            found = champion.pictures(run_id, Path(temporary)) if run_id else []
            if not found:
                log.warning("%s: MLflow run %s has no pictures", name, run_id)
                return NONE_KEPT
            ready = Path(temporary, "ready")
            ready.mkdir()
            for path in found:
                path.rename(ready / path.name).chmod(0o644)
            # Open to the user that serves the pages, whatever this one's umask.
            ready.chmod(0o755)
            ready.rename(kept)
    # An MLflow that does not answer is an OSError; so is a disk that is full.
    except (champion.PicturesNotFetched, MissingSetting, OSError) as error:
        log.warning("%s: no pictures on its page: %s", name, error)
        return NOT_FETCHED
    return None


def _clear(folder: Path, keep: set[str]) -> None:
    """Remove the pictures of versions that are no longer the newest, and what a kill left."""
    for path in folder.iterdir():
        if path.is_dir() and path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)


def _model_page(version: Row, pictures: list[Path], missing: str | None) -> Html:
    name, live = version["model_version"], version["live_version"]
    said = "No version is live yet." if live is None else "It is live."
    if live not in (None, name):
        said = f"{live} is live."
    told = [
        tag("p", tag("a", "← Data checks", href="../index.html"), class_="sub"),
        tag("h1", version["job"], " ", _live(version)),
        tag(
            "p",
            "Newest version ",
            tag("b", name),
            ", trained for ",
            tag("b", version["as_of"]),
            f". {said} A click shows a picture in its own size." if pictures else f". {said}",
            class_="sub",
        ),
    ]
    if missing:
        told.append(tag("p", missing))
    else:
        told.append(tag("div", *map(_figure, pictures), class_="pictures"))
    return page(version["job"], "../", told, part="models", style=STYLE)


def _figure(picture: Path) -> Html:
    """Return a picture under its name; a click shows it in its own size."""
    source, words = f"{picture.parent.name}/{picture.name}", picture.stem.replace("_", " ")
    return tag("figure", tag("figcaption", words), tag("a", image(source, words), href=source))


def _live(version: Row) -> Html:
    if version["live_version"] == version["model_version"]:
        return badge("passed", "live")
    return badge(None, "not live")


def _file(job: str) -> str:
    """Return a model's page, relative to the index."""
    return f"models/{file_name(job)}.html"
