"""What is said to a master as soon as its process id can be read."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.whole import PROGRAM, Gateway

from postwarden.roles import lock

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_starting_master_is_not_ended_by_a_reload_or_a_rotation(tmp_path: Path, number: signal.Signals) -> None:
    gateway = Gateway(tmp_path)
    with subprocess.Popen([PROGRAM, "-c", gateway.etc, "start-fg"], stderr=subprocess.DEVNULL) as master:
        try:
            deadline = time.monotonic() + 60
            while not lock.running(str(gateway.queue)):
                assert time.monotonic() < deadline and master.poll() is None
                time.sleep(0.0005)
            os.kill(master.pid, number)
            while "daemon started" not in gateway.log():
                assert time.monotonic() < deadline and master.poll() is None
                time.sleep(0.02)
        finally:
            master.terminate()
            assert master.wait(60) == 0
