"""Work beside a command: what it says arrives, and it never outlives the command."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from jobs.local.beside import beside
from jobs.local.processes import alive
from jobs.local.state import LocalError
from jobs.settings import ROOT

LONG_SECONDS = 120
PATIENCE_SECONDS = 30


class Particular(Exception):
    """An error that can't be made anew from its pickle."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def count(report, to):
    for number in range(to):
        report(f"{number + 1}/{to}")


def fail(_report, error):
    raise error


def fail_in_particular(_report):
    raise Particular("no", "day")


def die(_report):
    os.kill(os.getpid(), signal.SIGKILL)


def last_long(_report, note):
    note.write_text(str(os.getpid()))
    time.sleep(LONG_SECONDS)


def test_reports_arrive_in_order_and_after_the_block_went_on():
    told = []
    with beside(partial(count, to=3)) as finish:
        finish(told.append)
    assert told == ["1/3", "2/3", "3/3"]


def test_an_error_comes_over_as_what_it_was():
    with (
        pytest.raises(LocalError, match="no feed"),
        beside(partial(fail, error=LocalError("no feed"))) as finish,
    ):
        finish(print)
    with (
        pytest.raises(LocalError, match="Particular: no day"),
        beside(fail_in_particular) as finish,
    ):
        finish(print)


@pytest.mark.parametrize("work", [partial(fail, error=ValueError("no day")), fail_in_particular])
def test_an_error_says_where_it_was_raised(work):
    with pytest.raises((ValueError, LocalError)) as caught, beside(work) as finish:
        finish(print)
    assert "test_beside.py" in "".join(caught.value.__notes__)


def test_a_killed_process_is_no_success():
    with pytest.raises(LocalError, match="-9"), beside(die) as finish:
        finish(print)


def test_an_error_in_the_block_ends_the_work(tmp_path):
    note = tmp_path / "pid"

    def block():
        with beside(partial(last_long, note=note)):
            written(note)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()
    assert not alive(written(note))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_death_of_the_command_ends_the_work(tmp_path, number):
    note = tmp_path / "pid"
    command = (
        "from functools import partial\nfrom pathlib import Path\nimport signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.path[:0] = sys.argv[2:]\n"
        "from jobs.local.beside import beside\nfrom test_beside import last_long\n"
        "if __name__ == '__main__':\n"
        "    with beside(partial(last_long, note=Path(sys.argv[1]))) as finish:\n"
        "        finish(print)\n"
    )
    script = tmp_path / "command.py"
    script.write_text(command)
    parent = subprocess.Popen([sys.executable, script, note, ROOT, Path(__file__).parent])
    pid = written(note)
    parent.send_signal(number)
    parent.wait(PATIENCE_SECONDS)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def written(note: Path) -> int:
    """Return the process id in the file, once it is there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (note.exists() and note.read_text()):
        assert time.monotonic() < deadline, "the work did not begin"
        time.sleep(0.05)
    return int(note.read_text())
