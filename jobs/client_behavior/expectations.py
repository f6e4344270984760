"""What a day's rows must satisfy before anyone sees them."""

import great_expectations as gx
from great_expectations import expectations as gxe


def _between(column: str, strict: bool) -> gxe.ExpectColumnValuesToBeBetween:
    return gxe.ExpectColumnValuesToBeBetween(
        column=column,
        min_value=0,
        max_value=1,
        strict_min=strict,
        strict_max=strict,
        severity="critical",
    )


def _sums(query: str, words: str) -> gxe.UnexpectedRowsExpectation:
    return gxe.UnexpectedRowsExpectation(
        unexpected_rows_query=query, description=words, severity="critical"
    )


CLIENTS = gx.ExpectationSuite(
    name="client_behavior.clients",
    expectations=[
        gxe.ExpectColumnValuesToBeUnique(column="client_id", severity="critical"),
        gxe.ExpectColumnValuesToNotBeNull(column="current_state", severity="critical"),
        gxe.ExpectColumnValuesToNotBeNull(column="purchase_probability", severity="critical"),
        _between("purchase_probability", strict=True),
        _between("churn_probability", strict=True),
        _sums(
            "select * from {batch} where churn_probability is null and current_state <> 'churn'",
            "whoever has not left has a chance to",
        ),
        _sums(
            "select * from {batch} where abs(1 - (select sum(part) from"
            " unnest(next_probabilities) as part)) > 0.0001",
            "the chances of the next states sum to one",
        ),
    ],
)
TRANSITIONS = gx.ExpectationSuite(
    name="client_behavior.transitions",
    expectations=[
        gxe.ExpectTableRowCountToBeBetween(min_value=1, severity="critical"),
        _between("probability", strict=False),
        _between("low", strict=False),
        _between("high", strict=False),
        _sums(
            "select segment, from_state from {batch} group by segment, from_state"
            " having abs(1 - sum(probability)) > 0.000001",
            "the chances of leaving a state sum to one",
        ),
    ],
)
