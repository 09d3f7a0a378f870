"""A queue directory that is copied to another machine, with another name and other processes, and started there:
nothing that waited is lost or comes twice, and the copy needs nothing of where it was."""

import contextlib
import os
import signal
import smtplib
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.fault.test_kill import alive
from tests.mixed import letter
from tests.whole import PROGRAM, Gateway, Sink, children, running, until

from postwarden.ipc.queue_client import QueueClient
from postwarden.ipc.queue_records import HOLD, RELEASE

pytestmark = pytest.mark.slow

SOON = dict.fromkeys(("minimal_backoff_time", "maximal_backoff_time", "queue_run_delay"), "1s")
SIZES = {"small": 100, "large": 400_000}


class World:
    def __init__(self, base: Path) -> None:
        self.gates = False
        self.sink = Sink(refuse=self._answer)
        self.base = base

    def _answer(self, line: str) -> str | None:
        if line.startswith("RCPT"):
            if "<no" in line and self.gates:
                return "550 5.1.1 no such user"
            return None if self.gates else "450 4.2.0 later"
        return None

    def gateway(self, name: str, **settings: str) -> Gateway:
        base = self.base / name
        base.mkdir()
        transports = f"inline:{{sink.example=smtp:[127.0.0.1]:{self.sink.port}}}"
        return Gateway(base, self.sink.port, **({"transport_maps": transports, **SOON} | settings))


def fill(gateway: Gateway) -> set[str]:
    """Mail of each kind that waits: its names."""
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
        for who in ("ok", "no", "held"):
            for size, octets in SIZES.items():
                name = f"{who}-{size}"
                text = letter(name).replace("\n", "\r\n") + "x" * 70 * (octets // 70)
                client.sendmail("s@sink.example", [f"{name}@sink.example"], text)
    until(lambda: gateway.log().count("status=deferred (host") >= 6)
    with QueueClient(str(gateway.queue)) as queue:
        held = [one.queue_id for one in queue.listing() if one.envelope().recipients[0].address.startswith("held")]
        assert sorted(queue.act(HOLD, held)) == sorted(held), gateway.log()[-5000:]
    return {f"{who}-{size}" for who in ("ok", "held") for size in SIZES}


def end_at_once(gateway: Gateway) -> None:
    """As a machine ends whose plug is pulled."""
    processes = [gateway.master_pid, *children(gateway.master_pid)]
    processes += [pid for process in processes[1:] for pid in children(process)]
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):  # without its master it has ended by itself
            os.kill(pid, signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in processes))


def test_copied_and_started_elsewhere(tmp_path: Path) -> None:
    world = World(tmp_path)
    first = world.gateway("first")
    with running(first):
        names = fill(first)
        left = subprocess.run(
            [PROGRAM, "sendmail", "-C", first.etc, "-f", "s@sink.example", "ok-local@sink.example"],
            input=letter("ok-local"), text=True, timeout=60,
        )  # fmt: skip
        assert left.returncode == 0
        end_at_once(first)
    second = world.gateway("second", myhostname="other.example.net", mydestination="other.example.net")
    second.queue.rmdir()
    # Nothing that the copy keeps of the original but bytes: neither owners nor modes nor times.
    subprocess.run(["cp", "-r", first.queue, second.queue], check=True)
    first.queue.rename(tmp_path / "gone")
    if os.geteuid() == 0:
        second.command("set-permissions")
    world.gates = True
    with running(second):
        with QueueClient(str(second.queue)) as queue:
            waiting = [one.envelope().recipients[0].address for one in queue.listing()]
            assert sum(address.startswith("held") for address in waiting) == 2
            assert len(list(queue.act_on_all(RELEASE))) == 2
        until(lambda: second.log().count(": removed") >= 7 + 2, 60, second.log()[-3000:])
        time.sleep(0.5)
        letters = [message for message in world.sink.messages if message[0] and message[1]]
        found = Counter(to for _, recipients, _ in letters for to in recipients)
        assert found == Counter(f"{name}@sink.example" for name in [*names, "ok-local"])
        for _, (to, *_), content in letters:
            assert f"\r\nX-Name: {to.partition('@')[0]}\r\n".encode() in content
            assert len(content) > SIZES.get(to.partition("@")[0].partition("-")[2], 0)
        reports = [content for sender, to, content in world.sink.messages if to and not sender]
        assert len(reports) == 2 and all(b"Reporting-MTA: dns; other.example.net" in report for report in reports)
        with smtplib.SMTP("127.0.0.1", second.port, timeout=30) as client:
            client.sendmail("s@sink.example", ["new@sink.example"], "Subject: x\r\n\r\nbody\r\n")
        until(lambda: any(to == ["new@sink.example"] for _, to, _ in world.sink.messages))
    world.sink.close()
