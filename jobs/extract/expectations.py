"""What each source table must satisfy: rules for a row, and a suite for the day.

A row that breaks a rule goes to quarantine; a suite's critical expectation stops the day.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

import great_expectations as gx
from great_expectations import expectations as gxe

from jobs.extract.tables import TABLES, may_be_empty

# The known events and channels; a new one is added here.
MESSAGE_EVENTS = (
    "send", "open", "click", "purchase", "close",
    "unsubscribe", "complain", "hard_bounce", "soft_bounce",
)  # fmt: skip
CHANNELS = ("email", "mobile_push", "web_push", "sms")
CLIENT_EVENTS = ("view", "cart", "remove_from_cart", "favorite", "purchase", "return", "cancel")
FEED_ACTIONS = ("view", "like", "share", "comment", "hide")
# Actions that an owner may not have at all.
OPTIONAL_ACTIONS = ("share", "comment", "hide")
AGES = (5, 110)

# More refused rows than this share, and than this number, are no accident: the day stops.
MAX_REFUSED_SHARE = 0.01
MAX_REFUSED_ROWS = 3
# A column that is wrong in half of the rows is not a matter of rows: it broke as a whole.
HALF = 0.5
# Real files have a third of exact duplicates; ten copies of each row are a broken export.
MAX_MEAN_COPIES = 10
# The owner's window for "liked soon after" is not known, and some likes arrive nights later: this
# share of the views of either target may disagree with the like that follows within a day.
TOLERATED_TARGETS = 0.05

Rules = dict[str, str]


@dataclass(frozen=True)
class Load:
    """The rows to be checked, beside what they themselves say.

    Attributes:
        table: table under raw.
        first_day: first event day being loaded.
        last_day: last one: a later row has a clock that is ahead.
        late: whether they are rows that earlier days lack, not whole days.
        refers_to: table (of those the owner has) that must know what a column names.
        standing: keys that stand, of a table that is kept by version.
    """

    table: str
    first_day: date
    last_day: date
    late: bool = False
    refers_to: dict[str, str] = field(default_factory=dict)
    standing: int = 0


def row_rules(load: Load) -> Rules:
    """Return each rule's name and the SQL condition that is true of a row that breaks it.

    The row is called staged; {batch} is the table it is in.
    """
    return _own_rules(load) | reference_rules(load)


def reference_rules(load: Load) -> Rules:
    """Return those of the rules that ask whether a user or a post is known."""
    return {
        f"unknown {column.removesuffix('_id')}": _unknown(load, column, table)
        for column, table in load.refers_to.items()
    }


def _own_rules(load: Load) -> Rules:
    about = TABLES[load.table]
    rules = {f"no {key.removesuffix('_id')}": f"{key} is null" for key in about.keys}
    if about.snapshot:
        key = ", ".join(about.keys)
        rules["contradicting rows"] = (
            f"({key}) in (select {key} from {{batch}} group by {key} having count(*) > 1)"
        )
    else:
        rules["no time"] = "event_day is null"
        rules["time ahead of the clock"] = f"event_day > date '{load.last_day}'"
    return rules | TABLE_RULES[load.table]


def _unknown(load: Load, column: str, table: str) -> str:
    """Return the condition that no version of ``table`` known by the load has the column's id.

    A late row's user may have been known at any time. One that went on the very day counts.
    """
    known = f"known.{column} = staged.{column}"
    if not load.late:
        known += (
            f" and known.known_from <= date '{load.last_day}' + 1"
            f" and known.known_to > date '{load.first_day}'"
        )
    return (
        f"staged.{column} is not null and staged.event_day is not null"
        f" and not exists (select from raw.{table} as known where {known})"
    )


def _one_of(values: tuple[str, ...]) -> str:
    return "(" + ", ".join(f"'{value}'" for value in values) + ")"


TABLE_RULES: dict[str, Rules] = {
    "apparel_purchases": {
        "no quantity": "quantity is null",
        "quantity below one": "quantity < 1",
        "no price": "price is null",
        "price not a number": "price in ('NaN', 'Infinity', '-Infinity')",
        "negative price": "price < 0",
    },
    "apparel_messages": {
        "unknown event": f"event is null or event not in {_one_of(MESSAGE_EVENTS)}",
        "unknown channel": f"channel is null or channel not in {_one_of(CHANNELS)}",
        "no message id": "message_id is null",
    },
    "client_event": {
        "unknown event type": f"event_type is null or event_type not in {_one_of(CLIENT_EVENTS)}",
    },
    "user_data": {},
    "post_text_df": {},
    "post_image": {},
    "feed_exclusion": {},
    "feed_data": {
        "no post": "post_id is null",
        "unknown action": f"action is null or action not in {_one_of(FEED_ACTIONS)}",
        "view without target 0 or 1": "action = 'view' and coalesce(target, -1) not in (0, 1)",
        "target on another action": "action <> 'view' and target is not null",
    },
}


def day_suite(load: Load, columns: list[str]) -> gx.ExpectationSuite:
    """Return the suite for staged rows: the load as a whole, then row by row."""
    # A table that is kept by version and lost half of its rows broke; it was not corrected.
    least = 1 if may_be_empty(load.table, load.standing) else max(1, int(load.standing * HALF))
    whole = [
        gxe.ExpectTableRowCountToBeBetween(min_value=least, severity="critical"),
        gxe.ExpectTableColumnsToMatchSet(
            column_set=[*columns, "copies", "event_day", "known_from", "known_to"],
            severity="critical",
        ),
        gxe.ExpectColumnValuesToNotBeNull(
            column=TABLES[load.table].key, mostly=HALF, severity="critical"
        ),
        gxe.ExpectColumnMeanToBeBetween(
            column="copies", max_value=MAX_MEAN_COPIES, severity="critical"
        ),
        *TABLE_SUITES[load.table](),
    ]
    single = [_no_row(load.table, condition, name) for name, condition in row_rules(load).items()]
    return gx.ExpectationSuite(name=f"raw.{load.table}", expectations=[*whole, *single])


def follow_suite() -> gx.ExpectationSuite:
    """Return the suite for views beside what followed each (``staging.add_follows``)."""
    return gx.ExpectationSuite(
        name="raw.feed_data target",
        expectations=[
            gxe.ExpectColumnValuesToBeInSet(
                column=column,
                value_set=[agreed],
                mostly=1 - TOLERATED_TARGETS,
                severity="warning",
                description=words,
            )
            for column, agreed, words in (
                ("liked_if_1", 1, "a view with target 1 is followed by the user's like"),
                ("liked_if_0", 0, "a view with target 0 is not followed by the user's like"),
            )
        ],
    )


def _no_row(
    table: str, condition: str, words: str, severity: str = "warning"
) -> gxe.UnexpectedRowsExpectation:
    # As text, since a Python date knows neither infinity nor the year 10000.
    sample = ", ".join(
        column if column.endswith("_id") else f'cast(staged."{column}" as text) as "{column}"'
        for column in TABLES[table].sample
    )
    return gxe.UnexpectedRowsExpectation(
        unexpected_rows_query=f"select {sample} from (select * from {{batch}}) as staged"
        f" where {condition}",
        description=words,
        severity=severity,
    )


def _purchases() -> list[gxe.Expectation]:
    return [
        gxe.ExpectColumnValuesToBeBetween(
            column="price", min_value=0, mostly=HALF, severity="critical"
        ),
        gxe.ExpectColumnMedianToBeBetween(column="quantity", min_value=1, severity="critical"),
        gxe.ExpectColumnValuesToMatchRegex(
            column="category_ids", regex=r"^\[.*\]$", mostly=HALF, severity="critical"
        ),
    ]


def _messages() -> list[gxe.Expectation]:
    return [
        gxe.ExpectColumnValuesToBeInSet(
            column="event", value_set=list(MESSAGE_EVENTS), mostly=HALF, severity="critical"
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="channel", value_set=list(CHANNELS), mostly=HALF, severity="critical"
        ),
        gxe.ExpectColumnValueLengthsToBeBetween(
            column="message_id", min_value=1, mostly=HALF, severity="critical"
        ),
    ]


def _events() -> list[gxe.Expectation]:
    return [
        gxe.ExpectColumnValuesToBeInSet(
            column="event_type", value_set=list(CLIENT_EVENTS), mostly=HALF, severity="critical"
        ),
    ]


def _users() -> list[gxe.Expectation]:
    youngest, oldest = AGES
    return [
        gxe.ExpectColumnValuesToBeBetween(
            column="age", min_value=youngest, max_value=oldest, severity="warning"
        ),
    ]


def _posts() -> list[gxe.Expectation]:
    return [
        _no_row("post_text_df", "coalesce(staged.topic, '') = ''", "no topic"),
        _no_row(
            "post_text_df",
            "staged.topic <> '' and exists (select from raw.post_text_df)"
            " and staged.topic not in"
            " (select known.topic from raw.post_text_df as known where known.topic is not null)",
            "topic never seen before",
        ),
    ]


def _no_more() -> list[gxe.Expectation]:
    return []


def _feed() -> list[gxe.Expectation]:
    return [
        gxe.ExpectColumnValuesToBeInSet(
            column="action", value_set=list(FEED_ACTIONS), mostly=HALF, severity="critical"
        ),
        *(
            # Absent is no fault: it is said, for whoever reads zeros in the aggregates.
            _no_row(
                "feed_data",
                f"not exists (select from {{batch}} where action = '{action}') limit 1",
                f"action {action} is absent",
                "info",
            )
            for action in OPTIONAL_ACTIONS
        ),
    ]


TABLE_SUITES: dict[str, Callable[[], list[gxe.Expectation]]] = {
    "apparel_purchases": _purchases,
    "apparel_messages": _messages,
    "client_event": _events,
    "user_data": _users,
    "post_text_df": _posts,
    "post_image": _no_more,
    "feed_exclusion": _no_more,
    "feed_data": _feed,
}
