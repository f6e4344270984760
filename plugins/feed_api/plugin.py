"""The feed's place in Airflow: /feed/post/recommendations/, behind Airflow's login."""

from typing import ClassVar

from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends

from plugins.feed_api.service import create_guest

PREFIX = "/feed"

app = create_guest([Depends(requires_access_dag("GET"))])


class FeedApi(AirflowPlugin):
    """Serves the lists from Airflow's own api-server as well."""

    name = "feed_api"
    fastapi_apps: ClassVar = [{"app": app, "url_prefix": PREFIX, "name": "Nightshift feed"}]
