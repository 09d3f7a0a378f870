"""/etc/hosts and resolv.conf: what they mean, and that a changed file is seen."""

import os
from pathlib import Path

import pytest

from postwarden.net.hosts import HostsFile, HostsFirst, parse_hosts
from postwarden.net.resolv_conf import ResolvConf, given_servers, parse_resolv_conf
from postwarden.testing.clock import VirtualClock
from postwarden.testing.resolver import FakeResolver
from postwarden.wire.dns import Kind, reverse_name
from postwarden.wire.dns_answer import Answer, Outcome

TEXT = """
127.0.0.1 localhost loop # comment
192.0.2.1\tmail.example.com Mail
192.0.2.2 mail
2001:0db8::0001 mail
nonsense here
192.0.2.1 other
"""


def test_hosts_are_parsed() -> None:
    addresses, names = parse_hosts(TEXT)
    assert addresses["mail"] == ("192.0.2.1", "192.0.2.2", "2001:db8::1")
    assert addresses["loop"] == ("127.0.0.1",)
    assert names[reverse_name("192.0.2.1")] == "mail.example.com"
    assert "here" not in addresses


def make(tmp_path: Path, zone: str = "") -> tuple[HostsFirst, FakeResolver, VirtualClock, Path]:
    path = tmp_path / "hosts"
    path.write_text(TEXT)
    clock = VirtualClock()
    resolver = FakeResolver(zone)
    first = HostsFirst(HostsFile(clock.monotonic, str(path)), resolver, lambda: ("corp.example", "example"))
    return first, resolver, clock, path


def ask(resolver: HostsFirst, name: str, kind: Kind = Kind.A) -> Answer:
    answers: list[Answer] = []
    resolver.lookup(name, kind, answers.append)
    return answers[0]


def test_the_file_goes_first_and_hides_dns_for_both_families(tmp_path: Path) -> None:
    first, resolver, _, _ = make(tmp_path, "loop A 192.0.2.9\nloop AAAA 2001:db8::9")
    assert [r.data for r in ask(first, "LOOP").records] == ["127.0.0.1"]
    assert ask(first, "loop", Kind.AAAA).outcome is Outcome.NODATA
    assert not resolver.asked


def test_reverse_names_come_from_the_file(tmp_path: Path) -> None:
    first, _, _, _ = make(tmp_path, "9.2.0.192.in-addr.arpa PTR nine.example")
    assert ask(first, reverse_name("127.0.0.1"), Kind.PTR).records[0].data == "localhost"
    assert ask(first, reverse_name("192.0.2.9"), Kind.PTR).records[0].data == "nine.example"


def test_a_short_name_is_tried_in_the_search_list(tmp_path: Path) -> None:
    first, resolver, _, _ = make(tmp_path, "short.example A 192.0.2.5")
    assert ask(first, "short").records[0].data == "192.0.2.5"
    assert [name for name, _ in resolver.asked] == ["short.corp.example", "short.example"]
    assert ask(first, "absent").outcome is Outcome.NXDOMAIN


def test_a_changed_file_is_seen_within_a_second_and_a_lost_one_stays_in_force(tmp_path: Path) -> None:
    first, _, clock, path = make(tmp_path)
    assert ask(first, "loop").outcome is Outcome.FOUND
    path.write_text("192.0.2.50 new\n")
    os.utime(path, (1, 1))
    assert ask(first, "loop").outcome is Outcome.FOUND
    clock.advance(1)
    assert ask(first, "new").records[0].data == "192.0.2.50"
    path.unlink()
    clock.advance(1)
    assert ask(first, "new").records[0].data == "192.0.2.50"


def test_resolv_conf() -> None:
    config = parse_resolv_conf(
        "# x\nnameserver 192.0.2.1\nnameserver nonsense\nnameserver ::1\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n"
        "search a.example. b.example\noptions timeout:3 attempts:7 rotate use-vc trust-ad edns0\n"
    )
    assert config.servers == (("192.0.2.1", 53), ("::1", 53), ("192.0.2.3", 53))
    assert (config.timeout, config.attempts) == (3.0, 5)
    assert config.search == ("a.example", "b.example")
    assert config.rotate and config.tcp and config.trust_ad


@pytest.mark.parametrize(
    ("text", "trusted"),
    [("", True), ("nameserver 127.0.0.53", True), ("nameserver ::1", True), ("nameserver 192.0.2.1", False),
     ("nameserver 127.0.0.1\nnameserver 192.0.2.1", False), ("nameserver 192.0.2.1\noptions trust-ad", True)],
)  # fmt: skip
def test_whom_the_ad_bit_is_believed(text: str, trusted: bool) -> None:
    assert parse_resolv_conf(text).trust_ad is trusted


def test_given_servers() -> None:
    config = given_servers(("127.0.0.1:5300", "192.0.2.1", "[::1]:5301", "::1"))
    assert config.servers == (("127.0.0.1", 5300), ("192.0.2.1", 53), ("::1", 5301), ("::1", 53))
    for bad in ("example.com", "127.0.0.1:0", "127.0.0.1:x", "[::1", "1.2.3.4:99999"):
        with pytest.raises(ValueError, match="name server"):
            given_servers((bad,))


def test_resolv_conf_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    clock = VirtualClock()
    config = ResolvConf(clock.monotonic, str(path))
    assert config().servers == (("127.0.0.1", 53),)
    path.write_text("nameserver 192.0.2.1\n")
    clock.advance(1)
    assert config().servers == (("192.0.2.1", 53),)
