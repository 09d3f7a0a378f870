"""Where a whole gateway sends mail by its sender, past a server that is down, from an address of its own, and not too
fast."""

import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from tests.ports import free_port
from tests.whole import MASTER_CF, Gateway, Sink, running, until

pytestmark = pytest.mark.slow

PATIENT = "slow unix - - n - - smtp -o smtp_helo_name=slow.example -o smtp_bind_address=127.0.0.2\n"


class Remote(Sink):
    """Notes who has called, and what he calls himself."""

    def __init__(self) -> None:
        self.callers: list[tuple[str, str]] = []
        self.times: list[float] = []
        self._peer = ""
        super().__init__(refuse=self._heard)

    def _session(self, sock: socket.socket) -> None:
        self._peer = sock.getpeername()[0]
        super()._session(sock)

    def _heard(self, line: str) -> str | None:
        if line.upper().startswith("EHLO"):
            self.callers.append((self._peer, line[5:]))
        if line == ".":
            self.times.append(monotonic())
        return None


@pytest.fixture(scope="module")
def remotes() -> Iterator[dict[str, Remote]]:
    found = {name: Remote() for name in ("usual", "first", "second", "slow", "nobody")}
    yield found
    for remote in found.values():
        remote.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, remotes: dict[str, Remote]) -> Iterator[Gateway]:
    base: Path = tmp_path_factory.mktemp("ways")
    dead = free_port()

    def at(name: str) -> str:
        return f"[127.0.0.1]:{remotes[name].port}"

    hops = f"{{a@x.example={at('first')}}} {{@y.example=[127.0.0.1]:{dead}, {at('second')}}} {{@z.example=DUNNO}}"
    settings: dict[str, Any] = {
        "transport_maps": "",
        "relay_domains": "",
        "relayhost": f"[127.0.0.1]:{dead}",
        "smtp_fallback_relay": at("usual"),
        "recipient_delimiter": "+",
        "sender_dependent_relayhost_maps": f"inline:{{{hops} {{<>={at('nobody')}}}}}",
        "sender_dependent_default_transport_maps": (
            f"inline:{{{{s@x.example=slow:{at('slow')}}} {{bad@x.example=error:5.7.9 not you}}}}"
        ),
        "slow_destination_rate_delay": "1s",
    }
    with running(Gateway(base, 0, MASTER_CF + PATIENT, **settings)) as gateway:
        yield gateway


def send(gateway: Gateway, sender: str) -> None:
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
        client.sendmail(sender, ["r@far.example"], "Subject: x\r\n\r\nx\r\n")


@pytest.mark.parametrize(
    ("sender", "where"),
    [
        ("a@x.example", "first"),
        ("A+ext@x.example", "first"),
        ("b@y.example", "second"),
        ("b@z.example", "usual"),
        ("b@x.example", "usual"),
        ("", "nobody"),
    ],
)
def test_mail_goes_where_its_sender_sends_it(
    gateway: Gateway, remotes: dict[str, Remote], sender: str, where: str
) -> None:
    before = len(remotes[where].messages)
    send(gateway, sender)
    until(lambda: len(remotes[where].messages) > before, 20, gateway.log())
    assert remotes[where].messages[-1][0] == sender


def test_a_transport_of_a_sender_has_its_own_ways(gateway: Gateway, remotes: dict[str, Remote]) -> None:
    slow = remotes["slow"]
    for _ in range(3):
        send(gateway, "s@x.example")
    until(lambda: len(slow.messages) == 3, 20, gateway.log())
    assert set(slow.callers) == {("127.0.0.2", "slow.example")}
    assert all(later - earlier > 0.9 for earlier, later in zip(slow.times, slow.times[1:], strict=False))


def test_a_sender_that_is_sent_nowhere_is_refused_at_the_door(gateway: Gateway) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        send(gateway, "bad@x.example")
    [(code, text)] = refused.value.recipients.values()
    assert (code, text) == (550, b"5.7.9 <r@far.example>: Recipient address rejected: not you")
