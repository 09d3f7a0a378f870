"""master_service_disable beside the real master(8): who listens, and what mail for a transport that is off does."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.realpostfix import RealPostfix, needs_postfix
from tests.talk import send
from tests.whole import MASTER_CF, Gateway, until

from postwarden.config.settings import load
from postwarden.roles.listeners import listeners

PATTERNS = (
    "127.0.0.1:{a}/inet",
    "127.0.0.1:{a}.inet, !127.0.0.1:{b}/inet, inet",
    "INET",
    "!127.0.0.1:{a}/inet inet !127.0.0.1:{b}/inet",
    "fifo, {a}/inet",
)


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.postfix
@pytest.mark.slow
@needs_postfix
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_same_ports_listen(pattern: str, tmp_path: Path) -> None:
    ports = []
    while len(ports) < 2:
        ports += [port for port in [free_port()] if port not in ports]
    postfix = RealPostfix(tmp_path, master_service_disable=pattern.format(a=ports[0], b=ports[1]))
    with (postfix.etc / "master.cf").open("a") as master:
        master.writelines(f"127.0.0.1:{port} inet n - n - - smtpd\n" for port in ports)
    postfix.start()
    try:
        theirs = {port for port in (postfix.port, *ports) if listens(port)}
    finally:
        postfix.stop()
    assert {one.port for one in listeners(load(postfix.etc))} == theirs


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    master_cf = MASTER_CF + "other unix - - n - - discard\n"
    settings = {"master_service_disable": "other/unix", "transport_maps": "inline:{sink.example=other:}"}
    gateway = Gateway(tmp_path, 9, master_cf, **settings)
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.mark.slow
def test_mail_for_a_transport_that_is_off_waits(gateway: Gateway) -> None:
    assert send(gateway.port, "x@sink.example").startswith("250 ")
    until(lambda: "status=deferred (mail transport unavailable)" in gateway.log(), said=gateway.log)
