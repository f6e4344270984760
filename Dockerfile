# One image for every Python service of docker-compose.yml: Airflow, its workers, MLflow, the feed, pages.
FROM python:3.11-slim-bookworm

# libgomp: CatBoost's and scikit-learn's threads.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /srv/nightshift

# Packages change seldom and the code often: this layer is kept.
COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check -r requirements.txt && pip check

# The user that everything runs as owns its state and not the code.
RUN useradd --system --uid 50000 --no-create-home --home-dir /tmp nightshift \
    && install --directory --owner=nightshift --group=nightshift --mode=0750 \
        /var/lib/nightshift \
        /var/lib/nightshift/airflow \
        /var/lib/nightshift/mlflow \
        /var/lib/nightshift/feed \
        /var/lib/nightshift/pages \
        /var/lib/nightshift/pictures

COPY jobs ./jobs
COPY sql ./sql
COPY dags ./dags
COPY plugins ./plugins

# Airflow's home holds nothing to keep: each container makes its own, and workers' pid files don't
# meet. Logs and the login lie in the volume that all of them share.
ARG GIT_COMMIT=unknown
ENV GIT_COMMIT=$GIT_COMMIT \
    HOME=/tmp \
    PYTHONPATH=/srv/nightshift \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NIGHTSHIFT_STATE=/var/lib/nightshift \
    NIGHTSHIFT_PAGES=/var/lib/nightshift/pages \
    AIRFLOW_HOME=/tmp/airflow \
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=/var/lib/nightshift/airflow/logs \
    AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY=/var/lib/nightshift/airflow/logs/dag_processor \
    AIRFLOW__CORE__DAGS_FOLDER=/srv/nightshift/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/srv/nightshift/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False

USER nightshift
