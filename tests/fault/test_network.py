"""What we depend on is away: DNS, the next server, one of several servers. Mail waits and nothing else does."""

import contextlib
import smtplib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.nameserver import NameServer
from tests.ports import free_port
from tests.whole import MASTER_CF, Gateway, Sink, running, until

pytestmark = pytest.mark.slow

SOON = {"minimal_backoff_time": "1s", "maximal_backoff_time": "2s", "queue_run_delay": "1s"}


def send(gateway: Gateway, *recipients: str, subject: str = "x") -> None:
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
        client.sendmail("a@client.example", list(recipients), f"Subject: {subject}\r\n\r\nbody\r\n")


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


@pytest.mark.parametrize("fault", ["nobody answers", "SERVFAIL"])
def test_dns_is_down_and_comes_back(tmp_path: Path, sink: Sink, fault: str) -> None:
    zone = "far.example MX 10 mail.far.example\nmail.far.example A 127.0.0.1\n"
    broken = "far.example SERVFAIL\n"
    server = NameServer(broken, "127.0.0.1", free_port())
    if fault == "nobody answers":
        server.close()
    settings = SOON | {
        "relay_domains": "far.example",
        "transport_maps": f"inline:{{far.example=smtp:far.example:{sink.port}}}",
        "postwarden_dns_servers": f"127.0.0.1:{server.port}",
        # The own addresses would be "ourselves"; the sink is one of them.
        "inet_interfaces": "127.0.0.2",
    }
    gateway = Gateway(tmp_path, sink.port, **settings)
    try:
        with running(gateway):
            begun = time.monotonic()
            send(gateway, "r@far.example")
            assert time.monotonic() - begun < 15
            until(lambda: "status=deferred" in gateway.log(), 60, gateway.log())
            assert "Host or domain name not found. Name service error for name=far.example type=MX" in gateway.log()
            assert "dsn=4.4.3, status=deferred" in gateway.log()
            server.close()
            server = NameServer(zone, "127.0.0.1", server.port)
            until(lambda: len(sink.messages) == 1, 60, gateway.log()[-3000:])
            until(lambda: ": removed" in gateway.log())
            assert "status=bounced" not in gateway.log()
    finally:
        server.close()


def test_the_remote_is_down_and_comes_back(tmp_path: Path) -> None:
    port = free_port()
    with running(Gateway(tmp_path, port, **SOON)) as gateway:
        for n in range(20):
            send(gateway, "r@sink.example", subject=str(n))
        until(lambda: gateway.log().count("status=deferred") >= 20)
        assert f"(connect to 127.0.0.1[127.0.0.1]:{port}: Connection refused)" in gateway.log()
        sink = Sink(port=port)
        until(lambda: gateway.log().count(": removed") == 20, 60, gateway.log()[-2000:])
        assert sorted(int(content.partition(b"Subject: ")[2].split()[0]) for _, _, content in sink.messages) == [
            *range(20)
        ]
        sink.close()


def test_a_dead_and_a_deaf_destination_delay_no_other(tmp_path: Path, sink: Sink) -> None:
    """dead: refuses connections. deaf: takes them and never says a word, with more mail than there are processes."""
    deaf = socket.create_server(("127.0.0.1", 0), backlog=512)
    transports = f"""
        sink.example=smtp:[127.0.0.1]:{sink.port}, dead.example=smtp:[127.0.0.1]:{free_port()},
        deaf.example=smtp:[127.0.0.1]:{deaf.getsockname()[1]}"""
    settings = {"transport_maps": f"inline:{{{transports}}}", "relay_domains": "sink.example dead.example deaf.example"}
    with running(Gateway(tmp_path, sink.port, **settings)) as gateway:
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
            for n in range(150):
                for domain in ("deaf.example", "dead.example"):
                    client.sendmail("a@client.example", [f"r{n}@{domain}"], "Subject: x\r\n\r\nbody\r\n")
        for n in range(20):
            send(gateway, "r@sink.example", "r@dead.example", "r@deaf.example", subject=str(n))
            until(lambda n=n: len(sink.messages) > n, said="far sooner than smtp_helo_timeout, 300 s")
        until(lambda: gateway.log().count("status=sent") == 20)
    deaf.close()


def test_clients_that_stall_keep_nobody_out(tmp_path: Path, sink: Sink) -> None:
    port = free_port()
    entry = f"127.0.0.1:{port} inet n - n - - smtpd\n  -o smtpd_timeout=3s\n"
    settings = {"smtpd_client_connection_count_limit": "0"}
    gateway = Gateway(tmp_path, sink.port, master_cf=MASTER_CF + entry, **settings)
    with running(gateway), contextlib.ExitStack() as stack:
        for n in range(300):
            stack.enter_context(stall(gateway.port, n))
        send(gateway, "r@sink.example")
        until(lambda: len(sink.messages) == 1)
        assert "timeout after" not in gateway.log(), "they are all there still"
        for n in range(300):
            stack.enter_context(stall(port, n))
        until(lambda: gateway.log().count("timeout after") >= 300)
        assert gateway.log().count("timeout after DATA (11 bytes) from localhost[127.0.0.1]") == 100


def stall(port: int, how: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), 30)
    if how % 3:
        sock.sendall(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<r@sink.example>\r\n")
    if how % 3 == 2:
        sock.sendall(b"DATA\r\nhalf a mess")
    return sock
