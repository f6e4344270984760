"""The state folder: its lock, its secrets, and files that are whole or absent."""

import contextlib
import fcntl
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from jobs.settings import state_dir


class LocalError(Exception):
    """Something on this machine is in the way; the message says what and what to do."""


def write_private(path: Path, text: str) -> None:
    """Write ``text`` readable by its owner alone; a kill leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def secret(state: Path, name: str, make: Callable[[], str] | None = None) -> str:
    """Return the secret ``name``, made once and kept in the state folder.

    Args:
        state: the state folder.
        name: file name under ``secrets``.
        make: makes it the first time; default 32 letters that need no quoting in a URL.
    """
    path = secret_file(state, name)
    if path.exists() and (text := path.read_text()):
        return text
    write_private(path, (make or (lambda: secrets.token_urlsafe(24)))())
    return path.read_text()


def secret_file(state: Path, name: str) -> Path:
    """Return where the secret ``name`` is kept; its folder is closed to other users."""
    folder = state / "secrets"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / name


def prepare(state: Path) -> Path:
    """Make the state folder and return it.

    Raises:
        LocalError: if it can't be written, which a run as another user leaves behind.
    """
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalError(
            f"can't make the state folder {state}: {error.strerror}; set NIGHTSHIFT_STATE"
        ) from error
    owner = state.stat().st_uid
    if os.geteuid() not in (0, owner) or not os.access(state, os.W_OK | os.X_OK):
        raise LocalError(
            f"the state folder {state} belongs to user id {owner}, and this is user id "
            f"{os.geteuid()}: run as that user, or set NIGHTSHIFT_STATE to another folder"
        )
    # Others pass through (the database's own user does) but can't list it.
    if owner == os.geteuid():
        state.chmod(0o711)
    return state


def holder(state: Path) -> tuple[int, str] | None:
    """Return (process id, command) of the command now at work in the state folder, if any."""
    try:
        with (state / "lock").open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid, _, command = file.read().partition(" ")
                return int(pid or 0), command.strip()
    except FileNotFoundError:
        pass
    return None


@contextlib.contextmanager
def locked(state: Path | None = None, command: str | None = None) -> Iterator[Path]:
    """Hold the state folder for one command at a time; yields the folder.

    The kernel drops the lock with the process, however that ends, so no stale lock remains.

    Raises:
        LocalError: if another command is at work there.
    """
    state = prepare(state or state_dir())
    with (state / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, running = holder(state) or (0, "?")
            raise LocalError(
                f"`{running}` (process {pid}) is at work in {state}: "
                f"wait for it, stop it with `make down`, or set NIGHTSHIFT_STATE to another folder"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()} {command or ' '.join(sys.argv[1:]) or 'nightshift'}")
        file.flush()
        yield state
        file.seek(0)
        file.truncate()


def remove(state: Path) -> None:
    """Delete the state folder, and what it points to outside itself."""
    outside = state / "postgres"
    if outside.is_symlink():
        shutil.rmtree(outside.resolve(), ignore_errors=True)
    if state.exists():
        shutil.rmtree(state)
