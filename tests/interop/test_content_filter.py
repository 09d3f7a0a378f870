"""A content filter in the manner of amavis: mail goes to it and comes back on another port; here and in Postfix."""

import contextlib
import re
import smtplib
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.realpostfix import RealPostfix, missing
from tests.whole import MASTER_CF, PROGRAM, Gateway, Sink, running, until

pytestmark = [pytest.mark.slow]

BACK = """\
127.0.0.1:BACK inet n - n - - smtpd
 -o content_filter=
 -o receive_override_options=no_unknown_recipient_checks,no_header_body_checks,no_milters
 -o smtpd_recipient_restrictions=permit_mynetworks,reject
 -o smtpd_authorized_xforward_hosts=127.0.0.0/8
 -o { local_header_rewrite_clients = }
scan unix - - n - 2 smtp -o smtp_send_xforward_command=yes -o disable_dns_lookups=yes
"""
GONE = re.compile(r" to=<([^>]+)>(?:, orig_to=<([^>]+)>)?, relay=(\S+),.* dsn=([\d.]+), status=(\w+)")


class Filter(Sink):
    """Takes a message, marks it, and gives it to `back`."""

    def __init__(self, back: int) -> None:
        self.back = back
        self.seen: list[tuple[str, list[str]]] = []
        self.xforward: list[str] = []
        self.closed = False
        super().__init__(refuse=self._heard)
        threading.Thread(target=self._forward_all, daemon=True).start()

    def _heard(self, line: str) -> str | None:
        verb = line.upper().split(" ")[0]
        if verb == "EHLO":
            return "250-filter.example\r\n250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"
        if verb == "XFORWARD":
            self.xforward.append(line)
        return None

    def _forward_all(self) -> None:
        """Beside the sessions: a client that keeps its connection may never say QUIT."""
        while not self.closed:
            if self.messages:
                self._forward()
            time.sleep(0.01)

    def close(self) -> None:
        self.closed = True
        super().close()

    def _forward(self) -> None:
        sender, recipients, content = self.messages.pop(0)
        self.seen.append((sender, sorted(recipients)))
        with smtplib.SMTP("127.0.0.1", self.back, timeout=20) as client:
            client.sendmail(sender, recipients, b"X-Filtered: yes\r\n" + content)


def settings(scan: int) -> dict[str, str]:
    return {
        "content_filter": f"scan:[127.0.0.1]:{scan}",
        "receive_override_options": "no_address_mappings",
        "virtual_alias_maps": "inline:{{both@sink.example = one@sink.example two@sink.example}}",
        "always_bcc": "archive@sink.example",
        "relay_recipient_maps": "inline:{known@sink.example=x, both@sink.example=x}",
        "smtpd_recipient_restrictions": "permit_mynetworks, reject",
    }


def deliveries(log: str, scan: int) -> set[tuple[str, ...]]:
    return {
        (to, orig, "filter" if relay.endswith(f":{scan}") else relay.partition("[")[0], dsn, status)
        for to, orig, relay, dsn, status in GONE.findall(log)
    }


def send(port: int) -> None:
    for recipients in (["both@sink.example"], ["known@sink.example", "both@sink.example"]):
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
            client.sendmail("a@client.example", recipients, "Subject: x\r\n\r\nbody\r\n")


@contextlib.contextmanager
def closing(*servers: Sink) -> Iterator[None]:
    try:
        yield
    finally:
        for server in servers:
            server.close()


def ours(base: Path, sink: Sink, scan: Filter) -> Gateway:
    entries = BACK.replace("BACK", str(scan.back)).replace("{", "{{").replace("}", "}}")
    return Gateway(base, sink.port, MASTER_CF + entries, **settings(scan.port))


def passed(sink: Sink) -> bool:
    return sum(len(recipients) for _, recipients, _ in sink.messages) >= 7


def test_mail_passes_the_filter_once(tmp_path: Path) -> None:
    sink, scan = Sink(), Filter(free_port())
    gateway = ours(tmp_path, sink, scan)
    with closing(sink, scan), running(gateway):
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
            client.ehlo()
            client.mail("a@client.example")
            assert client.rcpt("unknown@sink.example")[0] == 550
        send(gateway.port)
        until(lambda: passed(sink), said=gateway.log()[-3000:])
        subprocess.run(
            [PROGRAM, "sendmail", "-C", gateway.etc, "-f", "local@client.example", "known@sink.example"],
            input=b"Subject: local\n\nbody\n", timeout=30, check=True,
        )  # fmt: skip
        until(lambda: len(scan.seen) == 3, said=gateway.log()[-3000:])
        until(lambda: any(sender == "local@client.example" for sender, _, _ in sink.messages))
    assert sorted(scan.seen) == [
        ("a@client.example", ["both@sink.example"]),
        ("a@client.example", ["both@sink.example", "known@sink.example"]),
        ("local@client.example", ["known@sink.example"]),
    ]
    assert any("NAME=localhost" in line and "ADDR=127.0.0.1" in line for line in scan.xforward)
    got = sorted(to for sender, people, _ in sink.messages if sender == "a@client.example" for to in people)
    assert got == sorted(["archive@sink.example", "one@sink.example", "two@sink.example"] * 2 + ["known@sink.example"])
    assert all(b"\r\nX-Filtered: yes\r\n" in content for _, _, content in sink.messages)


@pytest.mark.postfix
@pytest.mark.skipif(missing, reason="needs root and Debian's postfix")
def test_as_postfix_does_it(tmp_path: Path) -> None:
    (tmp_path / "us").mkdir()
    (tmp_path / "them").mkdir()
    sink, scan = Sink(), Filter(free_port())
    gateway = ours(tmp_path / "us", sink, scan)
    with closing(sink, scan), running(gateway):
        send(gateway.port)
        until(lambda: passed(sink), said=gateway.log()[-3000:])
        until(lambda: len(deliveries(gateway.log(), scan.port)) >= 6, said=gateway.log()[-3000:])
    their_sink, their_scan = Sink(), Filter(free_port())
    postfix = RealPostfix(tmp_path / "them", their_sink.port, **settings(their_scan.port))
    with (postfix.etc / "master.cf").open("a") as master:
        master.write(BACK.replace("BACK", str(their_scan.back)))
    with closing(their_sink, their_scan):
        postfix.start()
        try:
            send(postfix.port)
            until(lambda: passed(their_sink), 30, postfix.log()[-3000:])
            until(lambda: len(deliveries(postfix.log(), their_scan.port)) >= 6, said=postfix.log()[-3000:])
        finally:
            postfix.stop()
    assert deliveries(gateway.log(), scan.port) == deliveries(postfix.log(), their_scan.port)
    assert sorted(scan.seen) == sorted(their_scan.seen)
