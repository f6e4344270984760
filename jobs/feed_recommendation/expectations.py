"""What the feed's lists must satisfy before anybody reads them."""

import great_expectations as gx
from great_expectations import expectations as gxe


def lists(arms: tuple[str, ...], day_parts: tuple[int, ...]) -> gx.ExpectationSuite:
    """Return the suite for staged lists; what is in the lists is asked of one user in 100."""
    return gx.ExpectationSuite(
        name="result.feed_recommendation",
        expectations=[
            gxe.ExpectColumnValuesToNotBeNull(column="user_id", severity="critical"),
            gxe.UnexpectedRowsExpectation(
                # Not ExpectCompoundColumnsToBeUnique, which drags the arrays through its counts.
                unexpected_rows_query=(
                    "select user_id, day_part from {batch}"
                    " group by user_id, day_part having count(*) > 1"
                ),
                description="one list for a user and part of the day",
                severity="critical",
            ),
            gxe.ExpectColumnValuesToBeInSet(
                column="arm", value_set=[*arms, "none"], severity="critical"
            ),
            gxe.ExpectColumnValuesToBeInSet(
                column="day_part", value_set=list(day_parts), severity="critical"
            ),
            gxe.UnexpectedRowsExpectation(
                unexpected_rows_query=(
                    "select * from {batch} where mod(user_id, 100) = 0 and ('NaN' = any(scores)"
                    " or cardinality(post_ids)"
                    " <> (select count(distinct post_id) from unnest(post_ids) as post_id))"
                ),
                description="no post twice in a list, and scores are numbers",
                severity="critical",
            ),
        ],
    )
