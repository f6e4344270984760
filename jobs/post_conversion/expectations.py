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


POSTS = gx.ExpectationSuite(
    name="post_conversion.posts",
    expectations=[
        gxe.ExpectCompoundColumnsToBeUnique(column_list=["post_id", "action"], severity="critical"),
        gxe.ExpectColumnValuesToNotBeNull(column="predicted_rate", severity="critical"),
        gxe.ExpectColumnValuesToNotBeNull(column="expected_rate", severity="critical"),
        _between("predicted_rate", strict=True),
        _between("expected_rate", strict=True),
        _between("predicted_low", strict=False),
        _between("predicted_high", strict=False),
        _between("observed_rate", strict=False),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query="select * from {batch} where predicted_low > predicted_rate"
            " or predicted_high < predicted_rate",
            description="a prediction lies within its interval",
            severity="critical",
        ),
    ],
)
