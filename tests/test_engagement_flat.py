"""The imbalance bench on rows that others made: a flat file of clients, and real shop sessions."""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from jobs import __main__ as command_line
from jobs.client_engagement import flat
from jobs.client_engagement.candidates import HANDLINGS, MODELS
from jobs.client_engagement.features import Columns
from jobs.client_scores.threshold import Aim
from jobs.load.blocks import NotLoadable
from jobs.warehouse import adbc_uri

AS_OF = date(2026, 3, 1)
HEADER = ",".join(flat.COLUMNS)
LINES = (
    "11,3,30.5,10.2,20,1,4,12,click,open,email,email,1,1",
    "12,0,0,,,0,0,,,,,,0,0",
    "13,1,9.5,9.5,9.5,0,2,40,open,open,sms,email,1,0",
)
CONTENT = "\n".join([HEADER, *LINES]) + "\n"
# What tells one run of the same bench from another.
RUN = ["as_of", "seconds"]

# Sessions of a shop as the bench reads rows: the pages seen, seconds on them and their worth;
# rates and the nearness of a feast; words, among them codes that count nothing.
SESSIONS = Columns(
    amounts=(
        "Administrative",
        "Administrative_Duration",
        "Informational",
        "Informational_Duration",
        "ProductRelated",
        "ProductRelated_Duration",
        "PageValues",
    ),
    measures=("BounceRates", "ExitRates", "SpecialDay"),
    categories=(
        "Month",
        "OperatingSystems",
        "Browser",
        "Region",
        "TrafficType",
        "VisitorType",
        "Weekend",
    ),
    vectors=(),
)
AIM = Aim("precision", (0.6,))  # four times the share of sessions that buy
SOME = 5_000  # of 12,330 sessions; docs/engagement-uci.md has them all


def sessions(path: Path) -> pd.DataFrame:
    """Return one row per session: SESSIONS, target (whether it bought), its line as client_id."""
    rows = pd.read_csv(path)
    return rows.assign(
        **{name: rows[name].astype(str) for name in SESSIONS.categories},
        client_id=np.arange(2, len(rows) + 2),
        target=rows["Revenue"].astype(int),
    )


@pytest.fixture(scope="module")
def shoppers() -> pd.DataFrame:
    folder = Path(os.environ.get("NIGHTSHIFT_DATA", "/nowhere")) / "uci_shoppers"
    if not folder.is_dir():
        pytest.skip(
            "real data: NIGHTSHIFT_DATA names no folder with uci_shoppers/"
            "online_shoppers_intention.csv"
        )
    return sessions(folder / "online_shoppers_intention.csv")


@pytest.fixture
def bench(as_role) -> Callable[[str], list[dict]]:
    """Return a function: the columns asked for -> rows of the bench as an analyst reads them."""

    def read(columns: str = "*") -> list[dict]:
        statement = f"select {columns} from bi.client_engagement_bench order by model, handling"
        with as_role("bi_reader").connect() as connection:
            return [dict(row) for row in connection.execute(text(statement)).mappings()]

    return read


def written(folder: Path, content: str, name: str = "clients.csv") -> Path:
    (folder / name).write_text(content)
    return folder / name


def clients(folder: Path, count: int = 400) -> Path:
    """Write clients of whom those who clicked engage more often; columns in another order."""
    random = np.random.default_rng(7)
    clicks = random.poisson(0.8, count)
    rows = pd.DataFrame(
        {
            "target": (random.random(count) < 0.04 + 0.2 * clicks).astype(int),
            "usual_channel": "email",
            "last_channel": random.choice(["email", "sms", ""], count),
            "usual_event": random.choice(["open", "click"], count),
            "last_event": random.choice(["open", "click", ""], count),
            "has_interaction": (clicks > 0).astype(int),
            "total_clicks": clicks,
            "total_opens": clicks + random.poisson(2, count),
            "total_quantity": random.poisson(3, count),
            "total_spent": random.gamma(2, 30, count).round(2),
            "avg_price": random.gamma(2, 10, count).round(2),
            "max_price": np.where(random.random(count) < 0.2, np.nan, 30),
            "days_since_last_purchase": random.integers(1, 365, count),
            "client_id": np.arange(count) + 1,
        }
    )
    rows.to_csv(folder / "clients.csv", index=False)
    return folder / "clients.csv"


def test_a_flat_file_is_compared_on_its_own_labels_and_the_same_file_again_replaces_it(
    warehouse, bench, tmp_path, monkeypatch
):
    path, said = clients(tmp_path), []
    labels = pd.read_csv(path)["target"]

    version = flat.load(warehouse, path, AS_OF, said.append)

    first = bench()
    assert version.startswith("flat-clients-")
    assert {(row["model_version"], row["as_of"]) for row in first} == {(version, AS_OF)}
    expected = {(model, handling) for model in MODELS for handling in HANDLINGS}
    assert {(row["model"], row["handling"]) for row in first} == expected | {("always_no", "none")}
    assert [row["vectors"] for row in first] == [False] * len(first)
    assert sum(row["chosen"] for row in first) == 1
    assert all(row["roc_auc"] > 0.5 for row in first if row["chosen"])
    (fit_rows,), (rows,) = ({row[name] for row in first} for name in ("fit_rows", "rows"))
    assert 0.6 < fit_rows / len(labels) < 0.8
    assert 0.1 < rows / len(labels) < 0.2
    assert f"clients.csv: 400 clients, {labels.sum()} with target 1" in said
    assert "left out: max_price (it never varies)" in said
    assert "smote_nc" in said[-1]

    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", adbc_uri(warehouse))
    before = datetime.now(UTC).date()
    ended = CliRunner().invoke(command_line.app, ["load", str(tmp_path)])

    assert ended.exit_code == 0, ended.output
    assert f"model_version {version}" in ended.output
    again = bench()
    assert {row["as_of"] for row in again} <= {before, datetime.now(UTC).date()}
    pd.testing.assert_frame_equal(
        pd.DataFrame(again).drop(columns=RUN), pd.DataFrame(first).drop(columns=RUN)
    )
    with warehouse.connect() as connection:
        dropped = "select feature, vif from bi.client_engagement_vif where dropped = 1"
        assert connection.execute(text(dropped)).all() == [("max_price", None)]


def test_empty_cells_are_missing_values_and_columns_have_any_order(tmp_path):
    names = sorted(flat.COLUMNS, reverse=True)
    pd.read_csv(written(tmp_path, CONTENT))[names].to_csv(tmp_path / "clients.csv", index=False)

    rows = flat.read(tmp_path / "clients.csv")

    assert list(rows) == list(flat.COLUMNS)
    assert rows["client_id"].tolist() == [11, 12, 13]
    assert rows["target"].tolist() == [1, 0, 0]
    assert rows["avg_price"].isna().tolist() == [False, True, False]
    assert rows["last_event"].tolist() == ["click", None, "open"]


WRONG = {
    "a column lacks and another is unknown": (
        CONTENT.replace("total_spent", "spent"),
        r"clients.csv: found columns \['client_id', 'total_quantity', 'spent', .*\], expected "
        r"\['client_id', 'total_quantity', 'total_spent', .*'target'\] \(any order, separated by "
        r"commas\): missing \['total_spent'\], unknown \['spent'\], twice \[\]; ",
    ),
    "a column is there twice": (
        CONTENT.replace("total_opens", "total_clicks"),
        r"missing \['total_opens'\], unknown \[\], twice \['total_clicks'\]; ",
    ),
    "separated by other signs": (
        CONTENT.replace(",", ";"),
        r"found columns \['client_id;total_quantity;.*separated by commas",
    ),
    "a target of another kind": (
        CONTENT.replace("email,1,1\n", "email,1,2\n"),
        r"clients.csv line 2: target is '2', expected 0 or 1; ",
    ),
    "no target": (
        CONTENT.replace("email,1,1\n", "email,1,\n"),
        r"clients.csv line 2: target is '', expected 0 or 1; ",
    ),
    "a client twice": (
        CONTENT.replace("\n13,", "\n11,"),
        r"clients.csv line 4: client_id 11 again, as in line 2, expected one row per client; ",
    ),
    "no client": (
        CONTENT.replace("\n12,", "\n,"),
        r"clients.csv line 3: no client_id, expected a whole number; ",
    ),
    "a client that is no number": (
        CONTENT.replace("\n12,", "\nC12,"),
        r"clients.csv line 3: client_id is 'C12', expected a whole number; ",
    ),
    "a client beyond all numbers": (
        CONTENT.replace("\n12,", "\n9223372036854775808,"),
        r"line 3: client_id is '9223372036854775808', expected a whole number; ",
    ),
    "a text for a number": (
        CONTENT.replace("30.5", "cheap").replace("9.5", "dear"),
        r"clients.csv line 2: total_spent is 'cheap', expected a number or an empty cell; ",
    ),
    "a number that is none": (
        CONTENT.replace("30.5", "nan"),
        r"clients.csv line 2: total_spent is 'nan', expected a number or an empty cell; ",
    ),
    "a number that models don't know": (
        CONTENT.replace("30.5", "1e39"),
        r"clients.csv line 2: total_spent is '1e39', expected a number or an empty cell; ",
    ),
    "a number as programs write it": (
        CONTENT.replace("30.5", "1_000"),
        r"clients.csv line 2: total_spent is '1_000', expected a number or an empty cell; ",
    ),
    "an interaction that is neither": (
        CONTENT.replace("email,1,1\n", "email,1e30,1\n"),
        r"clients.csv line 2: has_interaction is '1e30', expected 0, 1 or an empty cell; ",
    ),
    "texts for words": (
        f"{HEADER}\n" + "".join(f"{n},1,2,3,4,5,6,7,t{n},b,c,d,0,{n % 2}\n" for n in range(600)),
        r"clients.csv: \w+ has 600 different words, at most 500 are compared; ",
    ),
    "a line cut short": (
        CONTENT.replace(",email,1,0", ""),
        r"clients.csv line 4: 11 fields, expected 14; ",
    ),
    "no row": (f"{HEADER}\n", r"clients.csv: no row below the columns' names, expected clients; "),
    "a single label": (
        CONTENT.replace("email,1,1\n", "email,1,0\n"),
        r"clients.csv: target is 0 in all 3 rows, expected 0 and 1; ",
    ),
    "nothing that varies": (
        f"{HEADER}\n" + "".join(f"{n},1,2,3,4,5,6,7,a,b,c,d,0,{n % 2}\n" for n in range(100)),
        r"clients.csv: every feature has a single value in the \d+ clients to fit on; expected one "
        r"that varies; ",
    ),
    "too few of a label": (
        CONTENT + "".join(f"{n},1,2,3,4,5,6,7,a,b,c,d,0,0\n" for n in range(100, 200)),
        r"clients.csv: 103 clients, 1 with target 1: of the \d+ clients to \w+ on, 0; expected "
        r"both labels among them, so more clients; ",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_flat_file_that_does_not_fit_is_named_and_nothing_is_loaded(
    warehouse, bench, tmp_path, case
):
    content, message = WRONG[case]
    written(tmp_path, content)
    path = flat.file(tmp_path)
    assert path is not None

    with pytest.raises(NotLoadable, match=f"{message}.*nothing was loaded. Mend the file, then"):
        flat.load(warehouse, path, AS_OF, lambda line: None)

    assert bench() == []


def test_a_flat_file_in_another_encoding_is_named(warehouse: Engine, tmp_path):
    (tmp_path / "clients.csv").write_bytes(CONTENT.replace("click", "clické").encode("latin-1"))

    with pytest.raises(NotLoadable, match=r"clients.csv: 'utf-8' .*expected CSV in UTF-8; nothing"):
        flat.load(warehouse, tmp_path / "clients.csv", AS_OF, lambda line: None)


def test_a_flat_file_stands_alone(tmp_path):
    written(tmp_path, CONTENT)
    written(tmp_path, CONTENT, "more.csv")

    with pytest.raises(
        NotLoadable, match=r"found \['clients.csv', 'more.csv'\], expected no other"
    ):
        flat.file(tmp_path)


def test_other_files_are_not_taken_for_a_flat_one(tmp_path):
    written(tmp_path, "client_id,target\n1,1\n", "apparel-target_binary.csv")
    written(tmp_path, "userId,movieId,rating,timestamp\n1,2,3,4\n", "ratings.csv")

    assert flat.file(tmp_path) is None
    assert flat.file(tmp_path / "nowhere") is None


def test_on_real_sessions_calibration_mends_what_weights_and_resampling_break(shoppers):
    some = shoppers.sample(SOME, random_state=7)

    table, _ = flat.compare(some, SESSIONS, AIM, lambda line: None)

    compared = table[table["model"] != "always_no"].set_index(["model", "handling"])
    assert set(compared.index) == {(m, handling) for m in MODELS for handling in HANDLINGS}
    # A row that resampling carried into another slice would rank as if known.
    assert compared["pr_auc"].max() < 0.95
    assert compared["pr_auc_low"].min() > 2 * some["target"].mean()
    for handling in ("class_weights", "oversampling", "undersampling"):
        of = compared.xs(handling, level="handling")
        assert (of["ece_raw"] > 3 * of["ece"]).all(), handling
        assert (of["brier"] < of["brier_raw"]).all(), handling
    # What a handling gains in ranking lies within its own interval.
    for model in MODELS:
        none = compared.loc[(model, "none"), "pr_auc"]
        assert (compared.loc[model, "pr_auc_low"] <= none).all(), model
    assert (compared[["precision", "recall"]] > 0).all(axis=None)
    chosen = compared[compared["chosen"]].iloc[0]
    assert chosen["precision_high"] >= AIM.numbers[0]
    assert chosen["ece"] < 0.05
