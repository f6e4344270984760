"""What the readout's rows must satisfy before anyone sees them."""

import great_expectations as gx
from great_expectations import expectations as gxe

from jobs.experiment.readout import METRICS

CRITICAL = "critical"

DAILY = gx.ExpectationSuite(
    name="experiment.daily",
    expectations=[
        gxe.ExpectTableRowCountToBeBetween(min_value=2, severity=CRITICAL),
        gxe.ExpectCompoundColumnsToBeUnique(column_list=["experiment", "arm"], severity=CRITICAL),
        *(
            gxe.ExpectColumnValuesToBeBetween(
                column=column, min_value=0, max_value=1, severity=CRITICAL
            )
            for metric in METRICS
            for column in (metric, f"{metric}_low", f"{metric}_high")
        ),
        *(
            gxe.ExpectColumnValuesToBeBetween(column=column, min_value=0, severity=CRITICAL)
            for column in ("users", "impressions", "views", "likes", "users_in_both")
        ),
        gxe.ExpectColumnValuesToNotBeNull(column="planned_share", severity=CRITICAL),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=(
                "select * from {batch} where likes > views or users > impressions"
                " or like_rate not between like_rate_low and like_rate_high"
                " or hitrate_5 not between hitrate_5_low and hitrate_5_high"
            ),
            description="parts are no larger than their wholes, rates lie within their intervals",
            severity=CRITICAL,
        ),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=(
                "select experiment, sum(planned_share) from {batch} group by experiment"
                " having abs(sum(planned_share) - 1) > 1e-9"
            ),
            description="planned shares sum to 1",
            severity=CRITICAL,
        ),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query="select * from {batch} where sample_ratio_alarm",
            description="users are split as planned",
            severity="warning",
        ),
    ],
)

RESULT = gx.ExpectationSuite(
    name="experiment.result",
    expectations=[
        gxe.ExpectTableRowCountToBeBetween(min_value=1, severity=CRITICAL),
        gxe.ExpectCompoundColumnsToBeUnique(
            column_list=["experiment", "arm", "metric"], severity=CRITICAL
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="metric", value_set=list(METRICS), severity=CRITICAL
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="p_value", min_value=0, max_value=1, severity=CRITICAL
        ),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=(
                "select * from {batch} where difference not between low and high"
                " or abs(difference - (value - value_compared)) > 1e-12"
            ),
            description="differences are those of the values and lie within their intervals",
            severity=CRITICAL,
        ),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=(
                "select * from {batch} where sample_ratio_alarm"
                " and (difference is not null or verdict <> 'not to be read')"
            ),
            description="no effect is stated where the sample ratio rings the alarm",
            severity=CRITICAL,
        ),
    ],
)
