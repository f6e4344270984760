"""Airflow's scheduler, with what the tasks import already in memory.

LocalExecutor forks its workers off the scheduler and each task off a worker, so what is imported
here is imported once, not in every task: Great Expectations alone takes seconds of a processor, a
dozen times a night, and TensorFlow more. Imported is all that they are: a library whose threads are
at work may not be forked. None of our own modules is among them, so a task runs what is on disk.
"""

import importlib
import logging
import os
import runpy
import sys

# The longest imports of the tasks, in no order that matters.
PRELOADED = (
    "adbc_driver_postgresql.dbapi",
    "catboost",
    "great_expectations",
    "implicit.als",
    "matplotlib.pyplot",
    "mlflow",
    "numba",
    "optuna",
    "pandas",
    "pyarrow.compute",
    "seaborn",
    "shap",
    "sklearn.cluster",
    "sklearn.decomposition",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
    "tensorflow",
)


def main() -> None:
    """Import them, then become ``airflow`` with the arguments of this command."""
    os.environ["MPLBACKEND"] = "Agg"
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    for name in PRELOADED:
        importlib.import_module(name)
    sys.argv[0] = "airflow"
    runpy.run_module("airflow", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
