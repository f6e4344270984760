"""All behavior of the platform; nothing here imports airflow."""
