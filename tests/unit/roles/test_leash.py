import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from postwarden.roles.leash import Leash

# The tests' process has threads, a worker has none.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@contextmanager
def program(stdin: int) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["/bin/sh", "-c", "sleep 1000 & wait"], stdin=stdin, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_program_of_a_worker_is_killed() -> None:
    leash = Leash()
    read, write = os.pipe()
    with program(read) as process:
        leash.begins(read)
        leash.runs(process.pid)
        leash.pull()
        assert process.wait(60) == -9
    os.close(read)
    os.close(write)
    leash.pull()
    leash.close()


def test_one_whose_start_the_worker_did_not_live_to_see_is_found_by_its_input() -> None:
    leash = Leash()
    read, write = os.pipe()
    with program(read) as process, program(subprocess.DEVNULL) as other:
        leash.begins(read)
        leash.pull()
        assert process.wait(60) == -9
        assert other.poll() is None
    os.close(read)
    os.close(write)


def test_one_that_has_ended_is_nobodys() -> None:
    leash = Leash()
    read, write = os.pipe()
    with program(read) as process:
        leash.begins(read)
        leash.runs(process.pid)
        leash.ended()
        leash.pull()
        assert process.poll() is None
    os.close(read)
    os.close(write)


def test_it_is_seen_across_a_fork() -> None:
    leash = Leash()
    read, write = os.pipe()
    with program(read) as process:
        child = os.fork()
        if child == 0:
            leash.runs(process.pid)
            os._exit(0)
        os.waitpid(child, 0)
        leash.pull()
        assert process.wait(60) == -9
    os.close(read)
    os.close(write)
