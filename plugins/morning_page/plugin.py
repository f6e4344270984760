"""The morning page's place in Airflow: a link in its menu, an address behind its login."""

import secrets
from typing import ClassVar
from urllib.parse import urlsplit

from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends, FastAPI, Response
from fastapi.responses import HTMLResponse

PREFIX = "/nightshift"
BASE = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")

# The dependency stands on the app, so nothing under the prefix answers a stranger: 401 without a
# token, 403 without the right to read DAGs.
app = FastAPI(
    title="Nightshift",
    dependencies=[Depends(requires_access_dag("GET"))],
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
)


@app.get("/morning", response_class=HTMLResponse)
def morning(response: Response) -> str:
    """Return the page as it stands now."""
    from plugins.morning_page.night import tonight
    from plugins.morning_page.page import render

    nonce = secrets.token_urlsafe(16)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
    return render(tonight(), nonce, BASE)


class MorningPage(AirflowPlugin):
    """Puts the page into Airflow's own frame, first in the menu."""

    name = "morning_page"
    fastapi_apps: ClassVar = [{"app": app, "url_prefix": PREFIX, "name": "Nightshift"}]
    external_views: ClassVar = [
        {
            "name": "Morning",
            "href": f"{BASE}{PREFIX}/morning",
            "destination": "nav",
            "url_route": "morning",
            "nav_top_level": True,
        }
    ]
