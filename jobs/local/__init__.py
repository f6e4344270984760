"""The platform on one machine: Postgres, Airflow, MLflow and the pages."""
