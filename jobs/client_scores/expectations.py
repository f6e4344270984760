"""What the scores must satisfy before anyone sees them."""

import great_expectations as gx
from great_expectations import expectations as gxe


def scores(job: str) -> gx.ExpectationSuite:
    """Return the suite for a job's staged rows: a client once, chances, reasons that add up."""
    return gx.ExpectationSuite(
        name=f"{job}.scores",
        expectations=[
            gxe.ExpectTableRowCountToBeBetween(min_value=1, severity="critical"),
            gxe.ExpectColumnValuesToBeUnique(column="client_id", severity="critical"),
            gxe.ExpectColumnValuesToNotBeNull(column="probability", severity="critical"),
            gxe.ExpectColumnValuesToBeBetween(
                column="probability",
                min_value=0,
                max_value=1,
                strict_min=True,
                strict_max=True,
                severity="critical",
            ),
            gxe.ExpectColumnMeanToBeBetween(
                column="probability", max_value=0.9, severity="critical"
            ),
            gxe.UnexpectedRowsExpectation(
                # What people act on must add up: reasons and rest are the score's log-odds.
                unexpected_rows_query=(
                    "select * from {batch} where abs("
                    "reason_rest + (select coalesce(sum(part), 0)"
                    " from unnest(reason_contributions) as part)"
                    " - ln(probability / (1 - probability))) > 0.001"
                ),
                description="reasons and rest sum to the log-odds",
                severity="critical",
            ),
        ],
    )
