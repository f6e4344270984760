"""What each source table must satisfy: rules for a row, and a suite for the day.

A row that breaks a rule goes to quarantine; a suite's critical expectation stops the day.
"""

from collections.abc import Callable
from datetime import date

import great_expectations as gx
from great_expectations import expectations as gxe

# The known events and channels; a new one is added here.
MESSAGE_EVENTS = (
    "send", "open", "click", "purchase", "close",
    "unsubscribe", "complain", "hard_bounce", "soft_bounce",
)  # fmt: skip
CHANNELS = ("email", "mobile_push", "web_push", "sms")
CLIENT_EVENTS = ("view", "cart", "favorite", "purchase", "return", "cancel")

# More refused rows than this share, and than this number, are no accident: the day stops.
MAX_REFUSED_SHARE = 0.01
MAX_REFUSED_ROWS = 3
# A column that is wrong in half of the rows is not a matter of rows: it broke as a whole.
HALF = 0.5
# Real files have a third of exact duplicates; ten copies of each row are a broken export.
MAX_MEAN_COPIES = 10

Rules = dict[str, str]


def row_rules(table: str, last_day: date) -> Rules:
    """Return each rule's name and the SQL condition that is true of a row that breaks it.

    ``last_day`` is the last event day being loaded: a later row has a clock that is ahead.
    """
    return {
        "no client": "client_id is null",
        "no time": "event_day is null",
        "time ahead of the clock": f"event_day > date '{last_day}'",
        **TABLE_RULES[table],
    }


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
}


def day_suite(table: str, columns: list[str], last_day: date) -> gx.ExpectationSuite:
    """Return the suite for staged rows of ``table``: the day as a whole, then row by row."""
    whole = [
        gxe.ExpectTableRowCountToBeBetween(min_value=1, severity="critical"),
        gxe.ExpectTableColumnsToMatchSet(
            column_set=[*columns, "copies", "event_day", "known_from", "known_to"],
            severity="critical",
        ),
        gxe.ExpectColumnValuesToNotBeNull(column="client_id", mostly=HALF, severity="critical"),
        gxe.ExpectColumnMeanToBeBetween(
            column="copies", max_value=MAX_MEAN_COPIES, severity="critical"
        ),
        *TABLE_SUITES[table](),
    ]
    single = [
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=f"select * from {{batch}} where {condition}",
            description=name,
            severity="warning",
        )
        for name, condition in row_rules(table, last_day).items()
    ]
    return gx.ExpectationSuite(name=f"raw.{table}", expectations=[*whole, *single])


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


TABLE_SUITES: dict[str, Callable[[], list[gxe.Expectation]]] = {
    "apparel_purchases": _purchases,
    "apparel_messages": _messages,
    "client_event": _events,
}
