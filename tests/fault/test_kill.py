"""kill -9 of every role, again and again under load of one kind: nothing that was answered with 250 is lost. Mail that
is deferred, returned and handed in by local users is in test_queue_kill.py."""

import os
import signal
import time
from pathlib import Path

import pytest
from tests.load import Arrivals, Load
from tests.whole import Gateway, Sink, children, until

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.mark.parametrize("role", ["receiver", "courier", "carrier", "agent", "master"])
def test_kill_under_load(tmp_path: Path, role: str) -> None:
    sink = Sink()
    gateway = Gateway(tmp_path, sink.port, minimal_backoff_time="1s", maximal_backoff_time="2s", queue_run_delay="1s")
    gateway.start()
    kills = 0
    load = Load(gateway.port)
    arrivals = Arrivals(sink)
    try:
        load.start()
        begin = time.monotonic()
        while time.monotonic() < begin + 8 or (kills < 3 and time.monotonic() < begin + 60):
            time.sleep(0.4)
            kills += kill(gateway, role)
        load.stop()
        assert kills >= 3, gateway.log()[-2000:]
        assert len(load.accepted) > 50
        until(lambda: not arrivals.missing(load), 90, f"mail was lost after kills of {role}")
    finally:
        load.stop()
        gateway.abort()
        sink.close()
    twice = arrivals.doubles
    print(f"{role}: {kills} kills, {len(load.accepted)} accepted, {twice} came more than once")
    if role in ("receiver", "agent"):
        assert twice == 0
    # At least once: the deliveries that were open at a kill, plus one commit group.
    assert twice <= kills * 60
    unknown = arrivals.names - load.accepted - load.in_doubt
    assert not unknown, "mail arrived that nobody sent"


def kill(gateway: Gateway, role: str) -> int:
    if role != "master":
        return 1 if gateway.kill(role) else 0
    roles = children(gateway.master_pid)
    os.kill(gateway.master_pid, signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in roles), 60, "children outlived their master")
    gateway.start()
    return 1


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
