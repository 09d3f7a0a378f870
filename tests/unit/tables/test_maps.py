from pathlib import Path

import pytest

from postwarden.config.errors import ConfigError
from postwarden.mail.decision import Origin
from postwarden.tables.keys import domain_keys, network_keys, split_extension
from postwarden.tables.maps import Maps
from postwarden.tables.matching import MatchList
from postwarden.tables.network import Network, NetworkError
from postwarden.tables.opening import Tables
from postwarden.tables.table import Found, TableError


class Asked:
    """A table that remembers what it was asked."""

    def __init__(self, answers: dict[str, str], *, fixed: bool = True) -> None:
        self.name = "test:asked"
        self.fixed = fixed
        self.answers = answers
        self.keys: list[str] = []

    def get(self, key: str) -> Found | None:
        self.keys.append(key)
        value = self.answers.get(key)
        return None if value is None else Found(value, key, self.name)

    def stale(self) -> bool:
        return False

    def reload(self) -> None: ...


class Down(Asked):
    def get(self, key: str) -> Found | None:
        raise TableError(self.name, "down")


def test_the_order_of_an_address() -> None:
    table = Asked({})
    Maps([table]).find_address("user+ext@example.com", "+", lambda domain: domain == "example.com")
    assert table.keys == ["user+ext@example.com", "user@example.com", "user+ext", "user", "@example.com"]
    table.keys.clear()
    Maps([table]).find_address("user+ext@elsewhere.org", "+")
    assert table.keys == ["user+ext@elsewhere.org", "user@elsewhere.org", "@elsewhere.org"]
    table.keys.clear()
    Maps([table]).find_address("user+ext", "+")
    assert table.keys == ["user+ext", "user"]


def test_the_extension_that_was_cut_off() -> None:
    found = Maps([Asked({"user@example.com": "x"})]).find_address("user+a+b@example.com", "+")
    assert found is not None
    assert (found.key, found.extension) == ("user@example.com", "+a+b")


def test_patterns_see_whole_addresses_only() -> None:
    pattern = Asked({"@example.com": "never"}, fixed=False)
    assert Maps([pattern]).find_address("user+ext@example.com", "+", lambda _: True) is None
    assert pattern.keys == ["user+ext@example.com"]
    assert Maps([pattern]).find_first(domain_keys("a.b.c", parents_by_dot=True)) is None
    assert pattern.keys[1:] == ["a.b.c"]


def test_a_table_that_is_down_ends_the_search() -> None:
    with pytest.raises(TableError):
        Maps([Down({}), Asked({"a": "b"})]).find("a")
    assert Maps([Asked({"a": "b"}), Down({})]).find("a") is not None
    assert Maps([Down({})]).find("") is None


@pytest.mark.parametrize(
    ("local", "delimiters", "expected"),
    [
        ("user+ext", "+", ("user", "+ext")),
        ("user-a+b", "+-", ("user", "-a+b")),
        ("+ext", "+", ("+ext", "")),
        ("user", "+", ("user", "")),
        ("user+ext", "", ("user+ext", "")),
        ("MAILER-DAEMON", "-", ("MAILER-DAEMON", "")),
        ("double-bounce", "-", ("double-bounce", "")),
        ("owner-list", "-", ("owner-list", "")),
        ("list-request", "-", ("list-request", "")),
    ],
)
def test_extensions(local: str, delimiters: str, expected: tuple[str, str]) -> None:
    assert split_extension(local, delimiters) == expected


def test_keys_of_domains_and_networks() -> None:
    assert list(domain_keys("a.b.c", parents_by_dot=True)) == ["a.b.c", ".b.c", ".c"]
    assert list(domain_keys("a.b.c", parents_by_dot=False)) == ["a.b.c", "b.c", "c"]
    assert list(domain_keys("192.0.2.1", parents_by_dot=False)) == ["192.0.2.1"]
    assert list(domain_keys("[IPv6:2001:db8::1]", parents_by_dot=False)) == ["[IPv6:2001:db8::1]"]
    assert list(network_keys("192.0.2.1")) == ["192.0.2.1", "192.0.2", "192.0", "192"]
    assert list(network_keys("2001:db8::1")) == ["2001:db8::1", "2001:db8", "2001"]


def matches(items: list[str], name: str, address: str, *, parents: bool = False) -> bool:
    return MatchList("mynetworks", items, Tables("/"), parents=parents).match_client(name, address) is not None


@pytest.mark.parametrize(
    ("items", "name", "address", "expected"),
    [
        (["10.0.0.0/8"], "unknown", "10.1.2.3", True),
        (["!10.1.0.0/16", "10.0.0.0/8"], "unknown", "10.1.2.3", False),
        (["10.0.0.0/8", "!10.1.0.0/16"], "unknown", "10.1.2.3", True),
        (["[::1]/128", "[2001:db8::]/32"], "unknown", "2001:db8::5", True),
        (["192.0.2.1"], "unknown", "192.0.2.1", True),
        (["[::ffff:127.0.0.0]/104"], "unknown", "127.0.0.1", False),
        (["example.com"], "Example.COM", "192.0.2.1", True),
        (["example.com"], "a.example.com", "192.0.2.1", False),
        ([".example.com"], "a.example.com", "192.0.2.1", True),
        ([".example.com"], "example.com", "192.0.2.1", False),
        (["unknown"], "unknown", "192.0.2.1", False),
        (["inline:{192.0.2.1=x}"], "unknown", "192.0.2.1", True),
        (["inline:{.example.com=x}"], "a.b.example.com", "192.0.2.1", True),
        (["!inline:{192.0.2.1=x}", "static:all"], "unknown", "192.0.2.1", False),
        (["static:all"], "unknown", "192.0.2.9", True),
        (["cidr:{{192.0.2.0/24 x}}"], "host.example.com", "192.0.2.9", True),
        ([], "a", "192.0.2.1", False),
    ],
)
def test_match_lists(items: list[str], name: str, address: str, expected: bool) -> None:
    assert matches(items, name, address) is expected


def test_parents_match_where_asked_for() -> None:
    assert matches(["example.com"], "a.example.com", "", parents=True)
    assert not matches(["example.com"], "notexample.com", "", parents=True)
    assert matches(["inline:{example.com=x}"], "a.b.example.com", "", parents=True)


def test_a_match_says_where_it_was_written() -> None:
    items = ["inline:{example.com=yes}"]
    match = MatchList("relay_domains", items, Tables("/"), Origin("main.cf", 4, "")).match_domain("example.com")
    assert match is not None
    assert match.fact is not None
    assert (match.fact.key, match.fact.answer) == ("example.com", "yes")


@pytest.mark.parametrize("item", ["!", "/no/such/file", "mongodb:/x"])
def test_bad_elements_point_to_the_parameter(item: str) -> None:
    with pytest.raises(ConfigError, match=r"^main\.cf:4: "):
        MatchList("mynetworks", [item], Tables("/"), Origin("main.cf", 4, ""))


@pytest.mark.parametrize("mark", ["", "!"])
@pytest.mark.parametrize("item", ["10.0.0.1/8", "10.0.0.0/99"])
def test_a_network_that_is_none_puts_off_whoever_comes_to_it(item: str, mark: str) -> None:
    items = ["127.0.0.0/8", mark + item, "192.0.2.0/24"]
    networks = MatchList("mynetworks", items, Tables("/"), Origin("main.cf", 4, ""))
    (problem,) = networks.problems
    assert str(problem).startswith("warning: main.cf:4: mynetworks: ")
    assert networks.match_client("unknown", "127.0.0.1") is not None
    assert networks.match_client("unknown", "2001:db8::1") is None
    with pytest.raises(TableError, match="mynetworks"):
        networks.match_client("unknown", "192.0.2.1")


def test_a_broken_pattern_for_the_other_protocol_fits_nobody() -> None:
    networks = MatchList("mynetworks", ["[::ffff:]/104", "[::1]/128"], Tables("/"))
    assert networks.match_client("localhost", "127.0.0.1") is None
    with pytest.raises(TableError):
        networks.match_client("localhost", "::1")


def test_network_errors_name_the_right_network() -> None:
    with pytest.raises(NetworkError, match=r"10\.0\.0\.0/8"):
        Network.parse("10.0.0.1/8")


def test_a_file_of_elements_is_looked_after(tmp_path: Path) -> None:
    file = tmp_path / "networks"
    file.write_text("# ours\n10.0.0.0/8, 192.0.2.0/24\n!example.org\n")
    tables = Tables("/")
    networks = MatchList("mynetworks", [str(file)], tables)
    match = networks.match_client("unknown", "192.0.2.7")
    assert match is not None
    assert str(match.origin) == f"{file}:2"
    file.write_text("10.0.0.1/8\n" * 2)
    (problem,) = tables.refresh()
    assert f"{file}:1" in str(problem)
    assert networks.match_client("unknown", "192.0.2.7") is not None
    assert tables.refresh() == []
    file.write_text("10.0.0.0/8\n")
    assert tables.refresh() == []
    assert networks.match_client("unknown", "192.0.2.7") is None
