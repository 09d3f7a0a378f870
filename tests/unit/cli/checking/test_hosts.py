import socket
import threading
import time
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from postwarden.cli.checking import hosts
from postwarden.testing.config import settings

RECORDS = {
    ("with-mx.example.", "MX"): "10 a.with-mx.example.",
    ("host.example.", "A"): "192.0.2.7",
    ("six.example.", "AAAA"): "2001:db8::7",
}


class NameServer:
    """Knows RECORDS; `silent.…` gets no answer, `broken.…` SERVFAIL, all else NXDOMAIN."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            packet, peer = self._socket.recvfrom(4096)
            if not packet:
                return
            query = dns.message.from_wire(packet)
            name, kind = query.question[0].name.to_text(), dns.rdatatype.to_text(query.question[0].rdtype)
            self.asked.append(f"{name} {kind}")
            if name.startswith("silent"):
                continue
            reply = dns.message.make_response(query)
            reply.flags |= dns.flags.RA
            known = RECORDS.get((name, kind))
            if known:
                reply.answer.append(dns.rrset.from_text(name, 60, "IN", kind, known))
            elif name.startswith("broken"):
                reply.set_rcode(dns.rcode.SERVFAIL)
            elif not any(name == other for other, _ in RECORDS):
                reply.set_rcode(dns.rcode.NXDOMAIN)
            self._socket.sendto(reply.to_wire(), peer)


@pytest.fixture(scope="module")
def server() -> Iterator[NameServer]:
    found = NameServer()
    yield found
    found.close()


def said(
    server: NameServer | None, main_cf: str, *, ask: bool = True, patience: float = 5.0
) -> list[tuple[str, int, str]]:
    chosen = settings(main_cf, postwarden_dns_servers=f"127.0.0.1:{server.port}" if server else "")
    found = hosts.findings(chosen, ask=ask, patience=patience)
    return [(f.severity, f.origin.line, f.what) for f in found]


@pytest.mark.parametrize(
    "main_cf",
    [
        "",
        "relayhost = [host.example]:587\n",
        "relayhost = with-mx.example, six.example\n",
        "relayhost = [192.0.2.1]\nsmtp_fallback_relay = [2001:db8::1]\n",
        "transport_maps = inline:{a.example=smtp:[host.example] b.example=local: c.example=error:no.such.host}\n",
        "transport_maps = regexp:{{/@(.*)/ smtp:[$1]}}\n",
        "virtual_transport = lmtp:unix:private/x\nmailbox_transport = lmtp:inet:[host.example]:24\n",
    ],
)
def test_nothing_is_said_of(server: NameServer, main_cf: str) -> None:
    assert said(server, main_cf) == []


@pytest.mark.parametrize(
    ("main_cf", "severity", "what"),
    [
        ("relayhost = [gone.example]\n", "error", "relayhost: DNS does not know the host gone.example"),
        ("relayhost = host.example, gone.example\n", "error", "relayhost: DNS does not know the host gone.example"),
        ("smtp_fallback_relay = no.example\n", "warning", "smtp_fallback_relay: DNS does not know the host no.example"),
        (
            "transport_maps = inline:{a.example=:[gone.example]}\n",
            "warning",
            "transport_maps, a.example: DNS does not know the host gone.example",
        ),
        (
            "sender_dependent_relayhost_maps = inline:{a@x.example=[gone.example]:26}\n",
            "warning",
            "sender_dependent_relayhost_maps, a@x.example: DNS does not know the host gone.example",
        ),
    ],
)  # fmt: skip
def test_a_host_that_is_not_there(server: NameServer, main_cf: str, severity: str, what: str) -> None:
    assert said(server, main_cf) == [(severity, 1, what)]


@pytest.mark.parametrize("text", ["[gw.example", "gw.example:no-such-port", "[gw..example]"])
def test_a_next_hop_that_is_none(text: str) -> None:
    ((severity, line, what),) = said(None, f"relayhost = {text}\n", ask=False)
    assert (severity, line) == ("error", 1) and what.startswith(f"relayhost: bad next hop {text}: ")


def test_a_next_hop_that_is_this_machine() -> None:
    ((severity, _, what),) = said(None, "relayhost = [mx.example.com]\n", ask=False)
    assert (severity, what) == ("error", "relayhost sends mail to mx.example.com, which is this machine")
    assert said(None, "relayhost = [mx.example.com]:10025\n", ask=False) == []


def test_what_nobody_answers_is_noted_in_time(server: NameServer) -> None:
    begun = time.monotonic()
    names = " ".join(f"d{n}.example=smtp:[silent{n}.example]" for n in range(5))
    found = said(server, f"relayhost = [broken.example]\ntransport_maps = inline:{{{names}}}\n", patience=0.5)
    assert time.monotonic() - begun < 60
    ((severity, line, what),) = found
    assert (severity, line) == ("note", 1)
    assert what.startswith("DNS gave no answer in 0 seconds for broken.example, silent0.example, silent1.example and 3")


def test_without_asking_nobody_is_asked(server: NameServer) -> None:
    server.asked.clear()
    assert said(server, "relayhost = [gone.example]\n", ask=False) == []
    assert server.asked == []


def test_a_routing_table_of_a_provider_is_not_walked_through(server: NameServer) -> None:
    server.asked.clear()
    rows = " ".join(f"d{n}.example=smtp:[host.example]:{1000 + n}" for n in range(250))
    ((severity, _, what),) = said(server, f"transport_maps = inline:{{{rows}}}\n")
    assert (severity, what) == ("note", "only 200 of 250 next hops were looked up in DNS")
