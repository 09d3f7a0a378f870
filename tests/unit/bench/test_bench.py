"""The benchmark's own parts: its load and sink reach each other, its name server agrees with itself."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench.dns import client_reply, reply
from bench.processes import Tree
from bench.rows import Result
from tests.passable import passable
from tests.ports import free_port

from postwarden.net.peername import PeerName, PeerNames
from postwarden.routing.finder import HostFinder
from postwarden.routing.params import Routing
from postwarden.testing.certificate import write_certificate
from postwarden.testing.clock import VirtualClock
from postwarden.testing.resolver import FakeResolver, Zone
from postwarden.wire.dns import Kind, Message, decode, encode_query

ROOT = Path(__file__).parents[3]


class BenchZone(Zone):
    def reply(self, query: Message) -> Message | None:
        return reply(query)


def test_each_client_has_a_name_and_each_domain_a_server() -> None:
    resolver = FakeResolver(BenchZone())
    peers: list[PeerName] = []
    PeerNames(resolver, VirtualClock()).verify("127.3.20.100", peers.append)
    assert peers == [PeerName("c-3-20-100.clients.bench.test", "c-3-20-100.clients.bench.test", 2, 2)]
    found: list[object] = []
    HostFinder(Routing((Kind.A,), {}, "2525"), resolver, resolver).find("d7.bench.test", found.append)
    assert "127.0.0.1" in str(found[0]) and "mx.d7.bench.test" in str(found[0])


@pytest.mark.parametrize(
    ("name", "kind"),
    [("4.3.2.127.in-addr.arpa", Kind.PTR), ("c-2-3-4.clients.bench.test", Kind.A), ("d7.bench.test", Kind.MX)],
)
def test_the_short_way_to_a_reply_says_the_same(name: str, kind: Kind) -> None:
    query = encode_query(77, name, kind)
    short = client_reply(query)
    assert (short is None) == (kind == Kind.MX)
    if short is not None:
        said, meant = decode(short), reply(decode(query))
        assert (said.ident, said.name, said.rcode, said.answers) == (77, name, meant.rcode, meant.answers)


def test_the_load_reaches_the_sink(tmp_path: Path) -> None:
    certificate, port = tmp_path / "pem", str(free_port())
    write_certificate(certificate, "localhost")
    words = [sys.executable, "-m", "bench.traffic"]
    sink = subprocess.Popen([*words, "sink", port, "12", str(certificate)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert sink.stdout is not None and sink.stdout.readline() == b"ready\n"
        subprocess.run([*words, "source", port, "3", "12", "5120"], cwd=ROOT, check=True, timeout=30)
        assert sink.wait(10) == 0
    finally:
        sink.kill()
        sink.communicate()


def test_cpu_time_is_counted_by_process_and_by_child() -> None:
    tree = Tree(os.getpid())
    before = tree.total()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    subprocess.run([sys.executable, "-c", "for i in range(2000000): pass"], check=True)
    assert tree.total() - before >= 50_000
    assert tree.by_role().total() > 0
    assert tree.memory() > 1 << 20


def test_a_rate_is_messages_by_seconds() -> None:
    assert Result(500, 2.0, 1.0, {}, {}).rate == 250


def test_a_queue_is_made_and_walked(tmp_path: Path) -> None:
    passable(tmp_path)
    queue = tmp_path / "queue"
    million = [sys.executable, "-m", "bench.million"]
    subprocess.run([*million, "build", str(queue), "1200"], cwd=ROOT, check=True, timeout=60)
    walk = subprocess.run([*million, "walk", str(queue)], cwd=ROOT, check=True, timeout=60, capture_output=True)
    found = json.loads(walk.stdout)
    assert (found["listing"]["messages"], found["flush"]["messages"]) == (1200, 1200)
