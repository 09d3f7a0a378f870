"""The name server of the row with real traffic: `python -m bench.dns ADDRESS`. Serves until it is killed.

Every 127.b.c.d is `c-b-c-d.clients.bench.test` and back; every `*.bench.test` has an MX whose host is 127.0.0.1.
"""

import socket
import struct
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


def client_reply(data: bytes) -> bytes | None:
    """The reply to a question about a client, put together from bytes: each comes once, so none is remembered, and to
    decode and encode them would cost ten times as much CPU. None for other questions."""
    labels, end = _labels(data)
    kind = int.from_bytes(data[end : end + 2])
    if kind == Kind.PTR and labels[3:] == _REVERSE:
        d, c, b = labels[:3]
        name = b"c-%b-%b-%b" % (b, c, d)
        content = b"%c%b\7clients\5bench\4test\0" % (len(name), name)
    elif kind == Kind.A and labels[1:] == _ZONE:
        content = bytes((127, *map(int, labels[0].split(b"-")[1:])))
    else:
        return None
    record = struct.pack("!HHHIH", 0xC00C, kind, 1, TTL, len(content)) + content
    return data[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + data[12 : end + 4] + record


_REVERSE = [b"127", b"in-addr", b"arpa"]
_ZONE = [b"clients", b"bench", b"test"]


def _labels(data: bytes) -> tuple[list[bytes], int]:
    """Of the name that is asked for, and where it ends."""
    labels, at = [], 12
    while size := data[at]:
        labels.append(data[at + 1 : at + 1 + size])
        at += 1 + size
    return labels, at + 1


def main() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((sys.argv[1], 53))
    print("ready", flush=True)
    serve_forever(sock, reply, client_reply)


if __name__ == "__main__":
    main()
