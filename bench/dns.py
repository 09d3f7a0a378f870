"""The name server of the row with real traffic: `python -m bench.dns ADDRESS`. Serves until it is killed.

Every 127.b.c.d is `c-b-c-d.clients.bench.test` and back; every `*.bench.test` has an MX whose host is 127.0.0.1.
"""

import socket
import sys

from msgspec import structs

from postwarden.testing.dns_server import serve_forever
from postwarden.wire.dns import Kind, Message, Rcode, Record

TTL = 300
_CLIENTS = ".clients.bench.test"


def reply(query: Message) -> Message:
    name = query.name.lower()
    records = [record for record in _records(name) if record.kind == query.kind]
    authority = () if records else (Record("", Kind.SOA, TTL, "ns.bench.test", TTL),)
    return structs.replace(
        query,
        response=True,
        authenticated=False,
        rcode=int(Rcode.NOERROR if _records(name) else Rcode.NXDOMAIN),
        answers=tuple(records),
        authority=authority,
    )


def _records(name: str) -> list[Record]:
    labels = name.split(".")
    if name.endswith(".127.in-addr.arpa") and len(labels) == 6:
        d, c, b = labels[:3]
        return [Record(name, Kind.PTR, TTL, f"c-{b}-{c}-{d}{_CLIENTS}")]
    if name.endswith(_CLIENTS) and labels[0].count("-") == 3:
        return [Record(name, Kind.A, TTL, "127." + labels[0][2:].replace("-", "."))]
    if name.endswith(".bench.test"):
        if labels[0] == "mx":
            return [Record(name, Kind.A, TTL, "127.0.0.1")]
        return [Record(name, Kind.MX, TTL, f"mx.{name}", 10)]
    return []


def main() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((sys.argv[1], 53))
    print("ready", flush=True)
    serve_forever(sock, reply)


if __name__ == "__main__":
    main()
