"""One more piece of work beside a command's own, in a process that does not outlive it."""

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from jobs.local.progress import Report
from jobs.local.state import LocalError

# A fresh interpreter: what is forked would hold the parent's lock on the state folder.
SPAWN = multiprocessing.get_context("spawn")
PR_SET_PDEATHSIG = 1
# Postgres answers a cancelled statement at once; a copy ends at its next block.
PATIENCE_SECONDS = 20


@contextlib.contextmanager
def beside(work: Callable[[Report], object]) -> Iterator[Callable[[Report], None]]:
    """Let ``work`` run in a process of its own while the block runs.

    An interrupt or an error in the block ends that process, and so does the death of this one.

    Args:
        work: importable, with arguments that can be pickled; it is given a place to report to.

    Yields:
        A function that waits for the work and shows its reports; it raises what the work raised.
    """
    heard, told = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=_work, args=(work, told, os.getpid()), daemon=True)
    process.start()
    told.close()

    def finish(report: Report) -> None:
        with contextlib.suppress(EOFError):
            while True:
                said = heard.recv()
                if isinstance(said, BaseException):
                    raise said
                report(said)
        process.join()
        if process.exitcode:
            raise LocalError(
                f"the work beside this command was ended (status {process.exitcode}); "
                "call the command again, it goes on from here"
            )

    try:
        yield finish
    finally:
        if process.pid and process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGINT)
            process.join(PATIENCE_SECONDS)
            process.kill()
        process.join()
        heard.close()


def _work(work: Callable[[Report], object], told: "Connection[Any, Any]", parent: int) -> None:
    """Do the work in the new process; send its reports, and its error if it fails."""
    _end_with(parent)
    try:
        work(told.send)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        with contextlib.suppress(BrokenPipeError):
            told.send(_sendable(error))


def _end_with(parent: int) -> None:
    """Be interrupted when the parent dies, as by Ctrl-C; elsewhere than on Linux, at a report."""
    # A shell starts what it puts in the background with interrupts ignored, and that is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != parent:
        sys.exit(130)


def _sendable(error: Exception) -> Exception:
    """Return the error, or one with the same words if it can't be made anew from a pickle.

    Of its traceback only the words go through a pipe: they become a note.
    """
    found = error
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        found = LocalError(f"{type(error).__name__}: {error}")
    found.add_note("".join(traceback.format_exception(error)))
    return found
