"""Experiments: the split of users between arms, what each was shown, and how the arms did."""
