"""Prepare a production server: `python -m jobs.setup`, the first service of docker-compose.yml.

Makes the roles and databases that are missing, gives the roles the passwords of the environment,
brings the warehouse to the newest schema and writes Airflow's login. Safe to repeat; a changed
password is a changed environment and a restart.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from jobs import migrate
from jobs.local import databases
from jobs.local.databases import Server
from jobs.local.state import LocalError, secret_file, write_private

# The product's database is the owner's: nothing is made there.
DATABASES = {name: name for name in ("warehouse", "airflow", "mlflow")}
# Roles that log in -> where their password is. The others get one that nobody knows.
PASSWORDS = {
    role: f"{role.upper()}_PASSWORD"
    for role in ("migrator", "nightshift", "bi_reader", "feed_api", "airflow", "mlflow")
}
ADMIN_URL, ADMIN_PASSWORD, LOGINS = (
    "DATABASE_URL",
    "AIRFLOW_ADMIN_PASSWORD",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
)


def setup(environment: Mapping[str, str]) -> list[str]:
    """Prepare the server that ``environment`` names.

    Returns:
        The roles that log in and whose password was changed.

    Raises:
        LookupError: naming the settings that are missing; nothing was changed then.
        LocalError: if the server is out of reach, or a role or database there is not ours.
    """
    needed = [ADMIN_URL, ADMIN_PASSWORD, LOGINS, *PASSWORDS.values()]
    if missing := [name for name in needed if not environment.get(name)]:
        raise LookupError(f"not in the environment: {', '.join(missing)}; see docker-compose.yml")
    with tempfile.TemporaryDirectory() as folder:
        server = Server(environment[ADMIN_URL], Path(folder))
        for role, name in PASSWORDS.items():
            write_private(secret_file(server.state, f"role_{role}"), environment[name])
        changed = databases.create(server, DATABASES)
        migrate.upgrade(server.url("migrator", DATABASES["warehouse"]))
    logins = json.dumps({"admin": environment[ADMIN_PASSWORD]})
    write_private(Path(environment[LOGINS]), logins)
    return [role for role in changed if role in PASSWORDS]


if __name__ == "__main__":
    try:
        roles = setup(os.environ)
    except (LookupError, LocalError) as error:
        raise SystemExit(f"error: {error}") from None
    print("databases, roles and schema are ready", *(roles and ["new passwords:", *roles]))
