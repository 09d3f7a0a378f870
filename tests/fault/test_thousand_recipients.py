"""One message to a thousand recipients, and kill -9 after the first five hundred: each gets it, only those whose
delivery was open get it again, and the sender hears once of each that failed."""

import os
import re
import signal
import smtplib
import threading
import time
from collections import Counter
from itertools import count
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.whole import Gateway, Sink, running, until

pytestmark = pytest.mark.slow

ALL = 1000
HALF = 10
"""Deliveries, of 50 recipients each, that end before the kill."""
OPEN = 20
"""Deliveries to one destination at once, of 50 recipients each."""


def name(n: int) -> str:
    """Of ten recipients two are refused, and one is taken later."""
    return f"{'no' if n % 5 == 1 else 'later' if n % 10 == 2 else 'ok'}{n}@sink.example"


class Remote(Sink):
    def __init__(self) -> None:
        self.gates = False
        self.killed = threading.Event()
        self._tickets = count()
        super().__init__(refuse=self._answer)

    def _answer(self, line: str) -> str | None:
        if line == ".":
            time.sleep(0.2)
            if next(self._tickets) >= HALF:
                self.killed.wait(90)
        if line.startswith("RCPT"):
            if "<no" in line:
                return "550 5.1.1 no such user"
            if "<later" in line and not self.gates:
                return "450 4.2.0 later"
        return None

    @property
    def arrived(self) -> Counter[str]:
        return Counter(recipient for _, recipients, _ in list(self.messages) for recipient in recipients)


@pytest.mark.parametrize("role", ["courier", "carrier"])
def test_half_of_them(tmp_path: Path, role: str) -> None:
    remote, home = Remote(), Sink()
    transports = (
        f"inline:{{{{sink.example=smtp:[127.0.0.1]:{remote.port}}},{{home.example=smtp:[127.0.0.1]:{home.port}}}}}"
    )
    soon = dict.fromkeys(("minimal_backoff_time", "maximal_backoff_time", "queue_run_delay"), "1s")
    gateway = Gateway(tmp_path, free_port(), transport_maps=transports, smtpd_recipient_limit="1000", **soon)
    with running(gateway):
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=60) as client:
            client.sendmail("s@home.example", [name(n) for n in range(ALL)], "Subject: x\r\n\r\nbody\r\n")
        until(lambda: len(remote.messages) >= HALF)
        for pid in gateway.pids(role):
            os.kill(pid, signal.SIGKILL)
        before = remote.arrived.total()
        assert before == 350, "of five hundred that were tried"
        remote.gates = True
        remote.killed.set()
        until(lambda: ": removed" in gateway.log() and bool(home.messages), 60, gateway.log()[-1000:])
        until(lambda: gateway.log().count(": removed") == 1 + len(home.messages))
    for sink in (remote, home):
        sink.close()
    arrived = remote.arrived
    assert set(arrived) == {name(n) for n in range(ALL) if not name(n).startswith("no")}
    assert max(arrived.values()) <= 2
    again = sum(any(arrived[one] > 1 for one in recipients) for _, recipients, _ in remote.messages) // 2
    print(f"{role}: {before} had it, {again} deliveries were repeated, to {arrived.total() - len(arrived)} recipients")
    assert again <= 2 * OPEN, "those that were open, and those of one commit"
    told = Counter(
        one.decode() for _, _, text in home.messages for one in re.findall(rb"Final-Recipient: rfc822; *(\S+)", text)
    )
    assert told == Counter(name(n) for n in range(ALL) if name(n).startswith("no"))
