"""Real files into the product database, then their history into the warehouse."""

from collections.abc import Callable, Collection
from datetime import date
from itertools import pairwise
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import Engine, text

from jobs.extract import job as extract
from jobs.extract.tables import OPTIONAL, SHOP, SOCIAL
from jobs.load import cdnow, events, exports, ratings, vk, vk_posts
from jobs.load.blocks import Blocks, NotLoadable
from jobs.settings import source_tz
from jobs.simulate.job import create as create_shop
from jobs.simulate.social.job import create as create_feed
from jobs.warehouse import Postgres, driver

# Days (UTC) of a row, by table: they tell which days there are. Times without a zone are read in
# the session's, as the extraction reads them.
_UTC_DAY = "({}::timestamptz at time zone 'UTC')::date"
DATED_BY = {
    "apparel_messages": (_UTC_DAY.format("created_at"), "date"),
    "apparel_purchases": ("date",),
    "client_event": (_UTC_DAY.format("event_time"),),
    "feed_data": (_UTC_DAY.format("timestamp"),),
}
# A year without a row is a clock that was wrong rather than a company's pause.
MAX_GAP_DAYS = 366


_NO_ROWS = sql.SQL("select * from {} limit 0")


def load(
    owner: Engine,
    source: Engine,
    warehouse: Engine,
    folder: Path,
    *,
    target_as_of: date | None = None,
    first_day: date | None = None,
    last_day: date | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> tuple[date, date]:
    """Load all files of ``folder`` and extract every day they cover that is over.

    Tables without a file are declared absent, so that nothing waits for their rows. Days without
    rows are taken as they are: a file is all there is. Rows of days that are left out stay in the
    product database.

    Args:
        owner: the product database, as a role that may write it.
        source: the same, as the role that extraction reads with.
        warehouse: the warehouse.
        folder: CSV files of the owners' tables, or ratings (``jobs.load.ratings``), or event logs
            (``jobs.load.events``), or CDNOW_master.txt; or JSON of VK's API (``jobs.load.vk``).
        target_as_of: day that the labels of an apparel_target_binary file stand on.
        first_day: extract none before it; the files' first by default.
        last_day: extract none after it; the files' last that is over by default.
        report: is told what is being done.

    Returns:
        First and last event day.

    Raises:
        NotLoadable: naming what was found and what is known, or the days that no company's log
            has: none that is over, or over a year of nothing between two of them.
    """
    found = cdnow.tables(folder) or ratings.tables(folder) or exports.tables(folder)
    found = found or events.tables(folder)
    if found:
        _refuse_posts_beside(folder)
    found = found or vk.tables(folder, _today(owner), report)
    if not DATED_BY.keys() & found.keys():
        names = sorted(path.name for path in folder.iterdir())[:10] if folder.is_dir() else "none"
        raise NotLoadable(
            f"{folder}: no known file with days (found {names}); expected CDNOW_master.txt; "
            "ratings (u.data, ratings.dat or ratings.csv); event logs (user,item,category,"
            "behavior,unix time, or event_time,event_type,product_id ... user_id); "
            "apparel-purchases.csv, "
            "apparel-messages.csv and client-event.csv (apparel-target_binary.csv may stand "
            "beside them); or feed-data.csv with user-data.csv, post-text-df.csv, "
            "post-image.csv and feed-exclusion.csv, with their owners' columns; or JSON that VK's "
            "API returned (wall.get, newsfeed.get); or one flat file of clients (client_id, "
            "total_quantity, total_spent ... target)"
        )
    create_shop(owner)
    create_feed(owner)
    with owner.begin() as connection:
        ours = driver(connection)
        for table, (columns, blocks) in found.items():
            if ours.execute(
                sql.SQL("select 1 from {} limit 1").format(sql.Identifier(table))
            ).fetchone():
                raise NotLoadable(
                    f"{table}: the product database has rows already; load into a platform of "
                    "its own: NIGHTSHIFT_STATE=/another/folder make load DIR=... (after a load "
                    "that was interrupted: python -m jobs extract --from DAY --to DAY --allow-empty"
                    " goes on)"
                )
            report(f"{table} from {folder.name}")
            _copy(ours, table, columns, blocks, folder)
        if (labels := exports.labels(folder)) is not None:
            _load_labels(warehouse, labels, target_as_of, folder)
        first, last = _days(ours, DATED_BY.keys() & found.keys(), first_day, last_day, report)
    with warehouse.begin() as connection:
        for table in (*SHOP, *SOCIAL):
            if table not in found and table not in OPTIONAL:
                connection.execute(
                    text(
                        "insert into ops.absent_table (table_name, reason)"
                        " values (:table, :reason) on conflict do nothing"
                    ),
                    {"table": table, "reason": f"no file for it in {folder.name}"},
                )
    for family in (SHOP, SOCIAL):
        if found.keys() & set(family):
            extract.load_range(
                source, warehouse, first, last, family, allow_empty=True, report=report
            )
    return first, last


def _refuse_posts_beside(folder: Path) -> None:
    """Return if no file beside the known ones has posts of VK.

    Raises:
        NotLoadable: naming one, and the other files.
    """
    posts = [path.name for path in vk_posts.files(folder) if vk_posts.is_of_posts(path)]
    if posts:
        others = sorted({path.name for path in folder.iterdir()} - set(posts))[:10]
        raise NotLoadable(
            f"{folder}: found {posts[0]} (posts of VK) beside {', '.join(others)}; expected one "
            "source; nothing was loaded. Load each from a folder of its own"
        )


def _today(owner: Engine) -> date:
    """Return the first day (UTC) that is not over by the product database's clock."""
    with owner.connect() as connection:
        today: date = connection.execute(
            text("select cast(now() at time zone 'UTC' as date)")
        ).scalar_one()
    return today


def _copy(
    ours: Postgres,
    table: str,
    columns: list[str],
    blocks: Blocks,
    folder: Path,
) -> None:
    known = [
        column.name
        for column in ours.execute(_NO_ROWS.format(sql.Identifier(table))).description or []
    ]
    if unknown := [name for name in columns if name not in known]:
        raise NotLoadable(
            f"{table} from {folder}: found columns {columns}, expected {known} (any order, some "
            f"may lack); {unknown} is unknown. Nothing was loaded; mend the file, then try again"
        )
    _fill(ours, table, columns, blocks, folder)


def _fill(ours: Postgres, table: str, columns: list[str], blocks: Blocks, folder: Path) -> None:
    """Copy the rows into a table.

    Raises:
        NotLoadable: naming the line that does not fit.
    """
    statement = sql.SQL("copy {} ({}) from stdin (format csv)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    try:
        with ours.cursor().copy(statement) as rows:
            for block in blocks:
                rows.write(block)
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.UndefinedColumn) as error:
        raise NotLoadable(
            f"{table} from {folder}: {' '.join(str(error).split())}; nothing was loaded. "
            "Mend the file, then load it again"
        ) from error


def _load_labels(warehouse: Engine, blocks: Blocks, as_of: date | None, folder: Path) -> None:
    """Load the owner's labels, which stand on ``as_of``."""
    if as_of is None:
        raise NotLoadable(
            f"{folder}: apparel-target_binary.csv says who bought, but not after which day; "
            "say it: python -m jobs load DIR --target-as-of YYYY-MM-DD"
        )
    with warehouse.begin() as connection:
        ours = driver(connection)
        ours.execute("create temporary table labels (client_id bigint, target smallint)")
        _fill(ours, "labels", ["client_id", "target"], blocks, folder)
        ours.execute(
            "insert into raw.apparel_target_binary (as_of, client_id, target)"
            " select %s, client_id, max(target) from labels group by client_id"
            " on conflict (as_of, client_id) do update set target = excluded.target",
            [as_of],
        )


def _days(
    ours: Postgres,
    tables: Collection[str],
    first_day: date | None,
    last_day: date | None,
    report: Callable[[str], None],
) -> tuple[date, date]:
    """Return the first and last event day (UTC) to extract; report which rows are left out.

    Raises:
        NotLoadable: if no day is left, or too long a gap is between two.
    """
    every_day = sql.SQL(" union all ").join(
        # A row with two days counts once.
        sql.SQL("select {} as day, {} as rows from {}").format(
            sql.SQL(day), sql.Literal(int(nth == 0)), sql.Identifier(table)
        )
        for table in sorted(tables)
        for nth, day in enumerate(DATED_BY[table])
    )
    ours.execute("select set_config('timezone', %s, true)", [source_tz().key])
    # What is beyond the calendar is for the extraction to set aside.
    found = ours.execute(
        sql.SQL(
            "select day, sum(rows), day < (now() at time zone 'UTC')::date from ({}) as dated"
            " where day between '0001-01-01' and '9999-12-31' group by day order by day"
        ).format(every_day)
    ).fetchall()
    chosen = first_day or date.min, last_day or date.max
    kept = [(day, rows) for day, rows, over in found if over and chosen[0] <= day <= chosen[1]]
    if not kept:
        days = f"from {found[0][0]} to {found[-1][0]}" if found else "none"
        raise NotLoadable(
            f"no row is of a day that is over and asked for (days of the rows: {days}; over means "
            "before today, UTC); nothing was loaded"
        )
    for (before, _), (after, _) in pairwise(kept):
        if (after - before).days > MAX_GAP_DAYS:
            so_far = sum(count for day, count in kept if day <= before)
            raise NotLoadable(
                f"no row is of a day between {before} and {after}, {so_far:,} are of {kept[0][0]} "
                f"to {before}, {sum(count for _, count in kept) - so_far:,} later; a clock was "
                "wrong there; nothing was loaded. Mend the file, or say which days to load: "
                "python -m jobs load DIR --from DAY --to DAY"
            )
    if left := [(day, rows) for day, rows, _ in found if not kept[0][0] <= day <= kept[-1][0]]:
        report(
            f"left out: {sum(rows for _, rows in left):,} rows of {len(left):,} days outside "
            f"{kept[0][0]} to {kept[-1][0]} ({left[0][0]} to {left[-1][0]}); the product database "
            "keeps them"
        )
    return kept[0][0], kept[-1][0]
