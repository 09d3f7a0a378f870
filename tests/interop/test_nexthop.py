"""What real Postfix's smtp(8) says of each next hop, and what we say of it, with the same name server."""

import asyncio
import contextlib
import re
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.nameserver import NameServer, own_address
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import until

from postwarden.mail.status import Status
from postwarden.net.clock import LoopClock
from postwarden.net.names import open_names
from postwarden.routing.finder import HostFinder
from postwarden.routing.params import Routing
from postwarden.wire.dns import Kind

pytestmark = [pytest.mark.postfix, pytest.mark.slow, needs_postfix]

SERVER = own_address()
ZONE = """
empty.example TXT nothing
null.example MX 0 .
nullmore.example MX 10 .
nullmore.example MX 20 me.example
dead.example MX 10 gone.example
broken.example SERVFAIL
refused.example REFUSED
notimp.example NOTIMP
malformed.example FORMERR
halfbroken.example MX:SERVFAIL
halfbroken.example A 192.0.2.1
onlyaaaa.example AAAA 2001:db8::1
noaddress.example MX 10 broken.example
half.example MX 10 broken.example
half.example MX 20 gone.example
halfturned.example MX 10 gone.example
halfturned.example MX 20 broken.example
refusedmx.example MX 10 refused.example
me.example A 127.0.0.1
loop.example MX 10 me.example
loop.example MX 20 gone.example
behind.example MX 10 gone.example
behind.example MX 20 me.example
second.example MX 10 gone.example
second.example MX 20 127.0.0.1
alias.example CNAME gone.example
aliasloop.example CNAME aliasloop2.example
aliasloop2.example CNAME aliasloop.example
aliasmx.example CNAME null.example
badmx.example MX 10 a\\032b.example
badalias.example CNAME a\\032b.example
proxy.example A 203.0.113.77
"""
NEXTHOPS = [
    "gone.example", "[gone.example]", "empty.example", "[empty.example]", "null.example", "nullmore.example",
    "dead.example", "broken.example", "[broken.example]", "refused.example", "[refused.example]", "notimp.example",
    "malformed.example",
    "halfbroken.example", "onlyaaaa.example", "noaddress.example", "half.example", "halfturned.example",
    "refusedmx.example", "me.example", "[me.example]", "[127.0.0.1]", "loop.example", "behind.example",
    "second.example", "alias.example", "aliasloop.example", "aliasmx.example", "badmx.example", "badalias.example",
    "proxy.example", "[2001:db8::1]", "gone.example, null.example",
    "me.example, gone.example", "relayhost.example",
]  # fmt: skip


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer(ZONE, SERVER)
    yield server
    server.close()


def ask_postfix(server: NameServer, base: Path) -> list[str]:
    domains = {f"d{n}.test": nexthop for n, nexthop in enumerate(NEXTHOPS)}
    table = "".join(f"{domain} smtp:{nexthop}\n" for domain, nexthop in domains.items())
    (base / "transport").write_text(table)
    postfix = RealPostfix(
        base,
        transport_maps=f"texthash:{base}/transport",
        relayhost="relayhost.example",
        relay_domains="",
        proxy_interfaces="203.0.113.77",
        bounce_queue_lifetime="0",
        smtp_destination_concurrency_limit="5",
    )
    server.start(postfix, base)
    found: dict[str, str] = {}

    def looked() -> bool:
        pattern = r"to=<user@(d\d+\.test)>, relay=.* dsn=([\d.]+), status=\w+ \((.*)\)$"
        for domain, code, text in re.findall(pattern, postfix.log(), re.M):
            found[domain] = f"{code} {text}"
        return len(found) == len(domains)

    try:
        with smtplib.SMTP("127.0.0.1", postfix.port, timeout=30) as client:
            for domain in domains:
                client.sendmail("", [f"user@{domain}"], b"Subject: x\r\n\r\nx\r\n")
        with contextlib.suppress(AssertionError):  # the comparison names what is missing
            until(looked, 90)
    finally:
        postfix.stop()
    return [found.get(domain, "nothing") for domain in domains]


def ask_ourselves() -> list[str]:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        names = open_names(loop, LoopClock(loop), (f"{SERVER}:53",))
        routing = Routing((Kind.A,), {"smtp": 25}, "smtp", relayhost="relayhost.example")
        finder = HostFinder(routing, names.dns, names.native, own=("127.0.0.1", "203.0.113.77"))
        said = []
        for nexthop in NEXTHOPS:
            future: asyncio.Future[object] = loop.create_future()
            finder.find(nexthop, future.set_result)
            result = await asyncio.wait_for(future, 30)
            said.append(f"{result.code} {result.text}" if isinstance(result, Status) else str(result))
        names.close()
        return said

    return asyncio.run(main())


def test_we_say_what_postfix_says(server: NameServer, tmp_path: Path) -> None:
    ours, theirs = ask_ourselves(), ask_postfix(server, tmp_path)
    differences = [
        f"{nexthop}\n  postfix {their}\n  we      {our}"
        for nexthop, our, their in zip(NEXTHOPS, ours, theirs, strict=True)
        if our != their
    ]
    assert not differences, "\n".join(differences)
