"""The speed claims, runnable: each module measures one against a floor in the same run."""
