"""What real Postfix's smtpd(8) makes of each client's address, and what we make of it, with the same name server."""

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.nameserver import NameServer, own_address
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import until

from postwarden.net.clock import LoopClock
from postwarden.net.names import open_names
from postwarden.net.peername import PeerName, PeerNames

pytestmark = [pytest.mark.postfix, pytest.mark.slow, needs_postfix]

SERVER = own_address()
ZONE = """
1.0.77.127.in-addr.arpa PTR mail.example.com
mail.example.com A 127.77.0.1
2.0.77.127.in-addr.arpa PTR liar.example
liar.example A 203.0.113.1
3.0.77.127.in-addr.arpa PTR gone.example
4.0.77.127.in-addr.arpa SERVFAIL
5.0.77.127.in-addr.arpa PTR broken.example
broken.example SERVFAIL
6.0.77.127.in-addr.arpa PTR empty.example
empty.example TXT x
7.0.77.127.in-addr.arpa PTR 127.77.0.7
8.0.77.127.in-addr.arpa PTR -bad-.example
9.0.77.127.in-addr.arpa CNAME 9.rev.example
9.rev.example PTR alias.example
alias.example CNAME real.example
real.example A 127.77.0.9
10.0.77.127.in-addr.arpa PTR Mixed.Example
mixed.example A 127.77.0.10
11.0.77.127.in-addr.arpa PTR under_score.example
under_score.example A 127.77.0.11
12.0.77.127.in-addr.arpa PTR single
single A 127.77.0.12
13.0.77.127.in-addr.arpa REFUSED
14.0.77.127.in-addr.arpa PTR circle.example
circle.example CNAME circle2.example
circle2.example CNAME circle.example
"""
ADDRESSES = ["127.0.0.1", *(f"127.77.0.{n}" for n in range(1, 16))]


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer(ZONE, SERVER)
    yield server
    server.close()


def ask_postfix(server: NameServer, base: Path) -> list[str]:
    """The name that is logged, whether reject_unknown_client_hostname calls it temporary, and the warning."""
    postfix = RealPostfix(
        base,
        mynetworks="127.99.0.0/16",
        smtpd_client_restrictions="reject_unknown_reverse_client_hostname, reject_unknown_client_hostname",
        unknown_client_reject_code="550",
    )
    server.start(postfix, base)
    said = []
    try:
        for address in ADDRESSES:
            before = len(postfix.log())
            reply = talk(postfix.port, address)
            log = ""

            def disconnected(before: int = before) -> bool:
                nonlocal log
                log = postfix.log()[before:]
                return "disconnect from" in log

            until(disconnected)
            said.append(describe_postfix(log, reply))
    finally:
        postfix.stop()
    return said


def talk(port: int, address: str) -> str:
    with socket.socket() as sock:
        sock.bind((address, 0))
        sock.settimeout(30)
        sock.connect(("127.0.0.1", port))
        file = sock.makefile("rb")
        file.readline()
        for line in (b"HELO x.example\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<a@mx.example.com>\r\n"):
            sock.sendall(line)
            reply = file.readline().decode()
        sock.sendall(b"QUIT\r\n")
        file.readline()
    return reply


def describe_postfix(log: str, reply: str) -> str:
    connected = re.search(r": connect from (\S+)\[", log)
    warning = re.search(r"warning: (hostname .*)", log)
    refused = re.search(r"cannot find your (reverse )?hostname", reply)
    which = "none" if refused is None else f"{'reverse' if refused[1] else 'verified'} {reply[0]}"
    assert connected is not None, log
    return f"{connected[1]} / {which} / {warning[1] if warning else ''}"


def ask_ourselves() -> list[str]:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop)
        lookups = open_names(loop, clock, (f"{SERVER}:53",))
        peers = PeerNames(lookups.native, clock)
        said = []
        for address in ADDRESSES:
            future: asyncio.Future[PeerName] = loop.create_future()
            peers.verify(address, future.set_result)
            said.append(describe(await asyncio.wait_for(future, 30)))
        lookups.close()
        return said

    return asyncio.run(main())


def describe(peer: PeerName) -> str:
    which = "none"
    if peer.reverse_name == "unknown":
        which = f"reverse {peer.reverse_name_status}"
    elif peer.name == "unknown":
        which = f"verified {peer.name_status}"
    return f"{peer.name} / {which} / {peer.warning}"


def test_we_say_what_postfix_says(server: NameServer, tmp_path: Path) -> None:
    ours, theirs = ask_ourselves(), ask_postfix(server, tmp_path)
    differences = [
        f"{address}\n  postfix {their}\n  we      {our}"
        for address, our, their in zip(ADDRESSES, ours, theirs, strict=True)
        if our != their
    ]
    assert not differences, "\n".join(differences)
