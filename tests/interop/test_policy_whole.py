"""A whole gateway whose policy asks a name server and a policy server: slow, down, and back again."""

import contextlib
import smtplib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port
from tests.whole import Gateway, Server, Sink, running, until

from postwarden.testing.dns_server import serve_forever
from postwarden.testing.resolver import Zone

pytestmark = pytest.mark.slow

ZONE = """
good.example MX 10 mx.good.example
mx.good.example A 192.0.2.55
1.0.0.127.bl.example A 127.0.0.2
1.0.0.127.bl.example TXT not here
"""


class Names:
    """A name server that can be stopped and started."""

    def __init__(self, zone: str) -> None:
        self.port = free_port()
        self._zone = Zone(zone)
        self.start()

    def start(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", self.port))
        threading.Thread(target=serve_forever, args=(self._socket, self._zone.reply), daemon=True).start()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Policy(Server):
    """Answers each request with `answer(sender)`."""

    def __init__(self, port: int = 0) -> None:
        self.answer: Callable[[str], str] = lambda sender: "DUNNO"
        self.asked = 0
        super().__init__(port)

    def _talk(self, stream: Any) -> None:
        while True:
            lines = list(iter(lambda: stream.readline().decode().strip(), ""))
            if not lines:
                return
            self.asked += 1
            sender = next(line[7:] for line in lines if line.startswith("sender="))
            stream.write(f"action={self.answer(sender)}\n\n".encode())
            stream.flush()


class Place:
    def __init__(self, base: Path) -> None:
        self.names, self.policy, self.sink = Names(ZONE), Policy(), Sink()
        self.gateway = Gateway(
            base,
            self.sink.port,
            postwarden_dns_servers=f"127.0.0.1:{self.names.port}",
            smtpd_peername_lookup="no",
            smtpd_sender_restrictions="reject_unknown_sender_domain check_sender_access inline:{bl@good.example=list}",
            smtpd_restriction_classes="list",
            list="reject_rbl_client bl.example",
            smtpd_recipient_restrictions=f"check_policy_service {{ inet:127.0.0.1:{self.policy.port}, timeout=10s }}",
        )

    def smtp(self) -> smtplib.SMTP:
        smtp = smtplib.SMTP("127.0.0.1", self.gateway.port, timeout=30)
        smtp.ehlo("me")
        return smtp

    def try_sender(self, sender: str) -> str:
        """The reply to RCPT."""
        with contextlib.closing(self.smtp()) as smtp:
            assert smtp.mail(sender)[0] == 250
            code, text = smtp.rcpt("x@sink.example")
            return f"{code} {text.decode()}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    base = tmp_path_factory.mktemp("policy")
    base.chmod(0o755)
    made = Place(base)
    with running(made.gateway):
        yield made
    made.names.stop()
    made.policy.close()
    made.sink.close()


def test_dns_decides(place: Place) -> None:
    assert place.try_sender("s@good.example").startswith("250 ")
    assert place.try_sender("s@nowhere.example").startswith("450 4.1.8 ")
    assert place.try_sender("bl@good.example") == (
        "554 5.7.1 Service unavailable; Client host [127.0.0.1] blocked using bl.example; not here"
    )


def test_dns_that_is_down_puts_off_and_recovers(place: Place) -> None:
    place.names.stop()
    assert place.try_sender("s@later.example").startswith("450 4.1.8 ")
    place.names.start()
    until(lambda: place.try_sender("s@good.example").startswith("250 "))


def test_actions_of_a_policy_server(place: Place) -> None:
    actions = {
        "f@good.example": "FILTER nosuch:",
        "r@good.example": "REDIRECT other@sink.example",
        "b@good.example": "BCC copy@sink.example",
        "p@good.example": "PREPEND X-Policy: yes",
    }
    place.policy.answer = lambda sender: actions.get(sender, "DUNNO")
    for sender in ("r@good.example", "b@good.example", "p@good.example"):
        with contextlib.closing(place.smtp()) as smtp:
            smtp.sendmail(sender, "x@sink.example", "Subject: x\r\n\r\ny\r\n")
    until(lambda: sum(len(to) for _, to, _ in place.sink.messages) >= 4)
    got = {(sender, who): content for sender, to, content in place.sink.messages for who in to}
    assert set(got) == {
        ("r@good.example", "other@sink.example"),
        ("b@good.example", "x@sink.example"),
        ("b@good.example", "copy@sink.example"),
        ("p@good.example", "x@sink.example"),
    }
    assert b"X-Policy: yes\r\n" in got["p@good.example", "x@sink.example"]


def test_who_waits_for_a_slow_policy_server_holds_up_nobody(place: Place) -> None:
    go = threading.Event()

    def answer(sender: str) -> str:
        if sender == "slow@good.example":
            go.wait(90)
        return "DUNNO"

    place.policy.answer = answer
    waiting = threading.Thread(target=place.try_sender, args=("slow@good.example",))
    asked = place.policy.asked
    waiting.start()
    until(lambda: place.policy.asked > asked)
    with contextlib.closing(place.smtp()) as smtp:
        for _ in range(50):
            assert smtp.mail("s@good.example")[0] == smtp.rcpt("x@sink.example")[0] == smtp.rset()[0] == 250
    assert waiting.is_alive()
    go.set()
    waiting.join()


def test_a_policy_server_that_is_gone_puts_off_and_comes_back(place: Place) -> None:
    port = free_port()
    place.gateway.write_main_cf(
        smtpd_recipient_restrictions=f"check_policy_service inet:127.0.0.1:{port}",
    )
    place.gateway.command("reload")
    until(lambda: place.try_sender("s@good.example").startswith("451 4.3.5 "))
    with contextlib.closing(Policy(port)):
        until(lambda: place.try_sender("s@good.example").startswith("250 "))


def test_a_policy_server_on_a_socket_of_the_queue(place: Place) -> None:
    path = place.gateway.queue / "policy"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    path.chmod(0o666)
    server.listen(5)

    def serve() -> None:
        sock, _ = server.accept()
        with sock, sock.makefile("rwb") as stream:
            while list(iter(lambda: stream.readline().strip(), b"")):
                stream.write(b"action=REJECT by socket\n\n")
                stream.flush()

    threading.Thread(target=serve, daemon=True).start()
    place.gateway.write_main_cf(smtpd_recipient_restrictions="check_policy_service unix:policy")
    place.gateway.command("reload")
    until(lambda: "by socket" in place.try_sender("s@good.example"))
    server.close()
