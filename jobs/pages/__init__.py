"""The validation pages: what was loaded, checked, profiled and trained, as files for a browser.

Each file is static (no script, nothing from elsewhere), says only what the warehouse and MLflow
say, and comes out the same bytes from the same records. ``tables`` makes the index and the pages
of checks, ``models`` those of trained models, ``html`` is what both are made of.
"""

from pathlib import Path

from sqlalchemy import Engine

from jobs.pages import models, tables
from jobs.pages.html import write
from jobs.pages.tables import DAYS

__all__ = ["DAYS", "build"]

# Great Expectations' own pages, where they were built.
DATA_DOCS = ("gx/index.html", "gx/uncommitted/data_docs/local_site/index.html")


def build(warehouse: Engine, out: Path) -> Path:
    """Write the index, one page per checked table and one per model; return the index.

    A file is replaced whole, so a reader never sees half a page.
    """
    days = tables.build(warehouse, out)
    newest = models.build(warehouse, out)
    docs = next((name for name in DATA_DOCS if (out / name).exists()), None)
    return write(out / "index.html", tables.index_page(days, docs, models.section(newest)))
