"""Import this before Airflow: it gives the test session an Airflow home of its own.

Airflow reads its settings when it is first imported, and writes into the home it then finds; so
a fixture would come too late, and the developer's own ~/airflow would be touched.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = Path(tempfile.mkdtemp(prefix="nightshift-airflow-"))
DAGS = ROOT / "dags"
PASSWORD = "a password of the tests"

atexit.register(shutil.rmtree, HOME, ignore_errors=True)
(HOME / "logins.json").write_text(f'{{"admin": "{PASSWORD}", "reader": "{PASSWORD}"}}')
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,reader:viewer",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(HOME / "logins.json"),
    "AIRFLOW__API__BASE_URL": "http://127.0.0.1:8080",
    "AIRFLOW__API__SECRET_KEY": "a secret key of the tests, long enough",
    "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of the tests that is longer than sixty-four bytes, "
    "as Airflow wants it",
}


def make_database() -> None:
    """Make Airflow's own database, once a session."""
    if (HOME / "made").exists():
        return
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.utils.db import initdb

    initdb()
    DagBundlesManager().sync_bundles_to_db()
    (HOME / "made").touch()


def connection_uri(url: object) -> str:
    """Return an engine's URL as an Airflow connection, password included."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)  # type: ignore[attr-defined]
