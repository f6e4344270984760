"""What is learned: whether a client buys in the 90 days from a cutoff on; and from which days."""

from jobs.client_scores.slices import Cutoffs

HORIZON_DAYS = 90
LABEL = "bought"
# Label windows of one gate, one fit: the newest fitting cutoff is two horizons before as_of. The
# level is forecast from the newest complete labels.
CUTOFFS = Cutoffs(HORIZON_DAYS, fitting=4, fitting_step_days=30, level=3, level_step_days=15)
