"""Settings: the environment first, then the file that ``make up`` writes into the state folder."""

import os
import shlex
from pathlib import Path
from zoneinfo import ZoneInfo

ROOT = Path(__file__).resolve().parents[1]


class MissingSetting(LookupError):
    """A setting that has no default is nowhere."""


class BadSetting(ValueError):
    """A setting's value is not of its kind."""


def state_dir() -> Path:
    """Return the folder that holds everything the platform keeps on this machine."""
    return Path(os.environ.get("NIGHTSHIFT_STATE") or ROOT / ".state").resolve()


def env_file() -> Path:
    """Return the file of ``NAME='value'`` lines that a shell can read as well."""
    return state_dir() / "env"


def read_env_file() -> dict[str, str]:
    """Return what the state folder's env file says; empty where nothing was set up yet."""
    try:
        lines = env_file().read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: "".join(shlex.split(value)) for name, _, value in pairs}


def setting(name: str, default: str | None = None) -> str:
    """Return the value of ``name``: environment, then env file, then ``default``.

    Raises:
        MissingSetting: if it is nowhere and there is no default.
    """
    value = os.environ.get(name) or read_env_file().get(name) or default
    if value is None:
        raise MissingSetting(
            f"{name} is neither in the environment nor in {env_file()}: "
            f"set it, or run `make up` to make a platform on this machine"
        )
    return value


def app_url() -> str:
    """Return the URL of the product's database, which the platform only reads."""
    return setting("AIRFLOW_CONN_APP")


def warehouse_url() -> str:
    """Return the URL of the warehouse, as the role the jobs run under."""
    return setting("AIRFLOW_CONN_WAREHOUSE")


def source_tz() -> ZoneInfo:
    """Return the zone in which source times without one are read."""
    return ZoneInfo(setting("SOURCE_TZ", "UTC"))


def raw_days() -> int | None:
    """Return how many days of raw are kept, or None to keep everything (jobs/retention.py).

    Raises:
        BadSetting: if it is no number of days.
    """
    value = setting("NIGHTSHIFT_RAW_DAYS", "")
    if value and not value.isdecimal():
        raise BadSetting(f"NIGHTSHIFT_RAW_DAYS is {value!r}; expected a number of days, or nothing")
    return int(value) if value else None


def pages_dir() -> Path:
    """Return the folder of static pages (validation results, pictures), served by ``make up``."""
    return Path(setting("NIGHTSHIFT_PAGES", str(state_dir() / "pages")))


def webhook_url() -> str | None:
    """Return where failures are announced, or None to announce them in the log only."""
    return setting("NIGHTSHIFT_WEBHOOK_URL", "") or None
