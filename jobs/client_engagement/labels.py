"""What is learned: whether a client engages after a cutoff; and from which days.

A client engages who, on a message, does one of ENGAGED_BY in the HORIZON_DAYS from the cutoff on;
sql/client_engagement/dataset.sql is the same in SQL (``target``). What a client did before the
cutoff (``has_interaction``) is a feature and no part of the label.
"""

from jobs.client_scores.slices import Cutoffs

# Of open and click. An open is often a mail program's doing; a click is a person's.
ENGAGED_BY = ("click",)
HORIZON_DAYS = 14
LABEL = "target"
# The level is the mean share of the last four weeks: campaigns come and go, and those of a single
# fortnight move it by a quarter.
CUTOFFS = Cutoffs(HORIZON_DAYS, fitting=4, fitting_step_days=14, level=3, level_step_days=7)
