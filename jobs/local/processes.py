"""Long-lived processes: started in groups of their own, found again, stopped as groups."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.local.state import LocalError, write_private

PROC = Path("/proc")
# The child waits for a word from its starter, who first writes the pid file: if the starter is
# killed in between, the child reads end-of-file and goes, so none is left that no file names.
ONCE = 'read -r go || exit 1; exec "$@"'
FOREVER = """read -r go || exit 1
while :; do "$@" < /dev/null; echo "$1 ended with status $?; starting again"; sleep 2; done"""
LOG_BYTES = 20_000_000
MARK = "NIGHTSHIFT_SERVICE"


def start(
    state: Path,
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    forever: bool = False,
    identity: str = "",
) -> int:
    """Start ``command`` in a group of its own and return its process id.

    Args:
        state: the state folder; the log goes to ``log/<name>.log`` there.
        name: the service's name, one process group each.
        command: program and arguments.
        environment: the whole environment.
        forever: start it again whenever it ends.
        identity: kept beside the process id; see ``identity_of``.
    """
    log = log_file(state, name)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    log_from = log.stat().st_size if log.exists() else 0
    with log.open("ab") as out:
        child = subprocess.Popen(
            ["/bin/sh", "-c", FOREVER if forever else ONCE, "sh", *command],
            cwd=state,
            env={**environment, MARK: str(state), "SPT_NOENV": "1"},
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    begun = {"pid": child.pid, "started": started_at(child.pid), "identity": identity}
    begun["log_from"] = log_from
    write_private(pid_file(state, name), json.dumps(begun))
    assert child.stdin is not None
    with child.stdin as word:
        word.write(b"go\n")
    # It outlives us on purpose: without this, Python warns that it is still running.
    child.returncode = 0
    return child.pid


def running(state: Path, name: str) -> int | None:
    """Return the process id of service ``name`` if it is alive, else None."""
    if (begun := read_pid_file(state, name)) is None:
        return None
    pid = int(begun["pid"])
    return pid if alive(pid) and started_at(pid) == begun["started"] else None


def identity_of(state: Path, name: str) -> str:
    """Return the identity that service ``name`` was started with; another one means restart."""
    return str((read_pid_file(state, name) or {}).get("identity", ""))


def restarts(state: Path, name: str) -> int:
    """Return how often service ``name`` was started again since ``start``."""
    with log_file(state, name).open("rb") as log:
        log.seek((read_pid_file(state, name) or {}).get("log_from", 0))
        return log.read().count(b"; starting again\n")


def read_pid_file(state: Path, name: str) -> dict[str, Any] | None:
    """Return what the pid file says; None if there is none."""
    try:
        begun: dict[str, Any] = json.loads(pid_file(state, name).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return begun


def names(state: Path) -> list[str]:
    """Return the services that have a pid file, alive or not."""
    return sorted(path.stem for path in (state / "run").glob("*.json"))


def stop(state: Path, stopping: Iterable[str], patience_seconds: float = 20) -> list[str]:
    """Stop services by group and return the names of those that were running.

    Each group is asked (SIGTERM) at once, then killed when patience ends.
    """
    stopping = list(stopping)
    groups = {name: group for name in stopping if (group := group_of(state, name))}
    for group in groups.values():
        signal_group(group, signal.SIGTERM)
    wait_until_gone(groups.values(), patience_seconds)
    for group in groups.values():
        signal_group(group, signal.SIGKILL)
    wait_until_gone(groups.values(), 5)
    for name in stopping:
        pid_file(state, name).unlink(missing_ok=True)
    return list(groups)


def group_of(state: Path, name: str) -> int | None:
    """Return the group of service ``name`` if any of it is alive, else None.

    A group outlives its leader, and the system gives the leader's id to nobody else while it
    does. So the group is ours if its leader is the process we started, or if the leader is gone
    and what remains carries our mark.
    """
    if (pid := running(state, name)) is not None:
        return pid
    if (begun := read_pid_file(state, name)) is None:
        return None
    group = int(begun["pid"])
    members = [pid for pid, fields in processes() if fields[2] == str(group) and fields[0] != "Z"]
    return group if any(marked(pid, state) for pid in members) else None


def wait_until_gone(groups: Iterable[int], patience_seconds: float) -> None:
    """Return when no process of these groups is left, or patience ended."""
    deadline = time.monotonic() + patience_seconds
    waiting = list(groups)
    while waiting and time.monotonic() < deadline:
        waiting = [group for group in waiting if group_alive(group)]
        time.sleep(0.05)


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to every process of the group; an empty group is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def group_alive(group: int) -> bool:
    """Return whether the group has a process that is not a zombie."""
    if not PROC.is_dir():
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True
    return any(fields[2] == str(group) and fields[0] != "Z" for _, fields in processes())


def sweep(state: Path) -> int:
    """Kill what still carries this state folder's mark, however it was started; return how many.

    Catches what left its group, and what a deleted state folder left behind. Linux only: other
    systems don't let us read another process's environment.
    """
    found = [
        pid
        for pid, fields in processes()
        if fields[0] != "Z" and pid != os.getpid() and marked(pid, state)
    ]
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(found)


def marked(pid: int, state: Path) -> bool:
    """Return whether the process was started by ``start`` for this state folder."""
    try:
        environment = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={state}".encode() in environment.split(b"\0")


def processes() -> list[tuple[int, list[str]]]:
    """Return (process id, fields of /proc/PID/stat from the state on); empty without /proc."""
    found = []
    for folder in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The name in parentheses may hold spaces and parentheses itself.
            rest = (folder / "stat").read_text().rpartition(")")[2]
            found.append((int(folder.name), rest.split()))
    return found


def alive(pid: int) -> bool:
    """Return whether ``pid`` is a process that still runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if PROC.is_dir():
        with contextlib.suppress(OSError):
            return not (PROC / str(pid) / "stat").read_text().rpartition(")")[2].startswith(" Z")
    return True


def started_at(pid: int) -> str:
    """Return when ``pid`` started, in the system's own words; tells a recycled pid apart."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19] + boot_id()
    except OSError:
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        if not shutil.which("ps"):
            return ""
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def boot_id() -> str:
    """Return this boot's identity: start times count from boot."""
    try:
        return " " + (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def pid_file(state: Path, name: str) -> Path:
    """Return the file that names the process of service ``name``."""
    return state / "run" / f"{name}.json"


def log_file(state: Path, name: str) -> Path:
    """Return the log of service ``name``; its folder is made."""
    folder = state / "log"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{name}.log"


def tail(path: Path, lines: int = 25) -> str:
    """Return the last lines of a log, for an error message."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 20_000))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:])


def port_free(port: int) -> bool:
    """Return whether we could listen on this port of 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


def require_ports(ports: Mapping[str, tuple[int, str]]) -> None:
    """Return if every port is free.

    Args:
        ports: what needs it -> (port, the setting that changes it).

    Raises:
        LocalError: naming each busy port, who holds it and the setting.
    """
    busy = [
        f"port {port} ({what}) is in use by {port_holder(port)}: stop that, "
        f"or choose another with {name}=..."
        for what, (port, name) in ports.items()
        if not port_free(port)
    ]
    if busy:
        raise LocalError("\n".join(busy))


def port_holder(port: int) -> str:
    """Return who listens on ``port``, as far as this user may know."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    for pid, _ in processes() if sockets else ():
        with contextlib.suppress(OSError):
            for descriptor in (PROC / str(pid) / "fd").iterdir():
                if os.readlink(descriptor) in sockets:
                    return f"process {pid} (`{command_of(pid)[:120]}`)"
    if shutil.which("lsof"):
        asked = ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"]
        said = subprocess.run(asked, capture_output=True, text=True).stdout.split()
        if len(said) >= 2:
            return f"process {said[0][1:]} (`{said[1][1:]}`)"
    return "another program (of another user: `sudo ss -ltnp` names it)"


def command_of(pid: int) -> str:
    """Return the command line of ``pid``; empty where it can't be read."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return ""
    return words.decode(errors="replace").strip()
