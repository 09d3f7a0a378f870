from pathlib import Path

import pytest

from postwarden.config.errors import ConfigError, Problem
from postwarden.tables.definition import Definition, in_file
from postwarden.tables.remote.ldap import access_of, attributes, in_filter, in_name, servers
from postwarden.tables.remote.ldap_expansion import (
    ENTRY,
    Attributes,
    Entry,
    Limits,
    Search,
    Unusable,
    expanded,
    in_both,
    reference,
)


def definition(here: Path, text: str) -> Definition:
    (here / "t.cf").write_text(text)
    return in_file(str(here / "t.cf"))[0]


class Directory:
    """Entries by name; a search below `all` finds them all."""

    def __init__(self, **entries: dict[str, list[str]]) -> None:
        self.entries = entries
        self.asked: list[Search] = []

    def search(self, base: str, scope: str, wanted: str, attributes: tuple[str, ...], limit: int) -> list[Entry] | None:
        self.asked.append(Search(base, scope, wanted, attributes))
        names = list(self.entries) if base == "all" else [base]
        found = [self.entries[name] for name in names if name in self.entries]
        if not found:
            return None
        return [[(name, [value.encode() for value in values]) for name, values in entry.items()] for entry in found]


NAMES = Attributes(("mail",), ("ref",), ("leaf",), ("last",))


def values(directory: Directory, base: str, names: Attributes = NAMES, limits: Limits | None = None) -> list[str]:
    first = Search(base, "sub", "(k=v)", names.all, must_exist=True)
    return [value.decode() for value in expanded(directory, first, names, limits or Limits())]


def test_values_in_the_order_of_the_entry() -> None:
    directory = Directory(a={"leaf": ["1"], "mail": ["2", "3"], "other": ["x"]})
    assert values(directory, "a") == ["1", "2", "3"]
    assert directory.asked == [Search("a", "sub", "(k=v)", ("last", "leaf", "mail", "ref"))]


def test_references_are_followed_at_once() -> None:
    directory = Directory(
        a={"mail": ["a1"], "ref": ["b", "gone", "c"], "Mail;lang-de": ["a2"], "leaf": ["never"]},
        b={"leaf": ["b1"], "ref": []},
        c={"mail": ["c1"], "ref": ["b"]},
    )
    assert values(directory, "a") == ["a1", "b1", "c1", "b1", "a2"]
    assert directory.asked[1] == Search("b", "base", ENTRY, NAMES.all)


def test_terminal_attributes_hide_all_others() -> None:
    directory = Directory(a={"mail": ["x"], "ref": ["a"], "last": ["end"], "leaf": ["y"]})
    assert values(directory, "a") == ["end"]


def test_limits() -> None:
    loop = Directory(a={"mail": ["x"], "ref": ["a"]})
    with pytest.raises(Unusable, match="Recursion limit"):
        values(loop, "a", limits=Limits(depth=5))
    assert len(loop.asked) == 5
    deep = Directory(a={"ref": ["a"]})
    with pytest.raises(Unusable, match="Recursion limit"):
        values(deep, "a")  # Python itself would end at 1000
    wide = Directory(a={"ref": ["a", "a"]})
    with pytest.raises(Unusable, match="more than 100 searches"):
        values(wide, "a", limits=Limits(depth=200, searches=100))


def test_a_base_that_is_not_there() -> None:
    with pytest.raises(Unusable, match="Search base 'none' not found"):
        values(Directory(), "none")
    first = Search("none", "sub", "x", ("mail",))
    assert list(expanded(Directory(), first, NAMES, Limits())) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"cn=a,dc=b", Search("cn=a,dc=b", "base", ENTRY, NAMES.all)),
        (b"ldap:///dc=b", Search("dc=b", "base", ENTRY, NAMES.all)),
        (b"LDAPS://h:1/dc=b??ONE?(a=b)", Search("dc=b", "one", "(a=b)", NAMES.all)),
        (b"ldap:///dc=b?MAIL,other?sub", Search("dc=b", "sub", ENTRY, ("MAIL",))),
        (b"<ldap:///dc=%C3%A9%2C?mail?subtree?(a=%28)?x=y>", Search("dc=é,", "sub", "(a=()", ("mail",))),
        (b"<URL:ldap:///dc=b>", Search("dc=b", "base", ENTRY, NAMES.all)),
        (b"ldap:///dc=b?other", None),
    ],
)
def test_references(value: bytes, expected: Search | None) -> None:
    assert reference(value, NAMES) == expected


@pytest.mark.parametrize(
    "value", [b"ldap:///dc=b?mail?far", b"ldap:///dc=%zz", b"ldap:///dc=b%00?mail", b"a\0b", b"\xff"]
)
def test_malformed_references(value: bytes) -> None:
    with pytest.raises(Unusable, match=r"malformed URL|no text|NUL"):
        reference(value, NAMES)


def test_attributes_of_both() -> None:
    assert in_both(["MAIL", "x"], ["mail", "y"]) == ("MAIL",)
    assert in_both(["mail;lang-de"], ["mail"]) == ("mail;lang-de",)
    assert in_both(["mail"], ["mail;lang-de", "mailbox"]) == ("mail;lang-de",)
    assert in_both(["mail;a"], ["mail;b"]) == ()


def test_quoting() -> None:
    assert in_filter("a*(b)\\\0é") == "a\\2A\\28b\\29\\5C\\00é"
    assert in_name(' a,b+"=;<>\\#\0') == "\\20a\\2Cb\\2B\\22\\3D\\3B\\3C\\3E\\5C\\23\\00"


def test_result_attributes(tmp_path: Path) -> None:
    assert attributes(definition(tmp_path, "")).all == ("maildrop",)
    assert attributes(definition(tmp_path, "result_attribute =\n")).all == ()
    text = "result_attribute = a, b\nspecial_result_attribute = c\n"
    text += "leaf_result_attribute = d\nterminal_result_attribute = e\n"
    assert attributes(definition(tmp_path, text)).all == ("e", "d", "a", "b", "c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["ldap://localhost:389"]),
        ("server_host = a b:1, LDAPS://c\nserver_port = 3\n", ["ldap://a:3", "ldap://b:1", "ldaps://c"]),
        ("server_host = ldapi://%2Fs\n", ["ldapi://%2Fs"]),
    ],
)
def test_servers(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert servers(definition(tmp_path, text)) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("server_host = http://a\n", 1),
        ("server_host = ldaps://a\nstart_tls = yes\n", 2),
        ("start_tls = perhaps\n", 1),
        ("bind = perhaps\n", 1),
        ("version = 1\n", 1),
        ("timeout = 0\n", 1),
        ("\n\nserver_port = x\n", 3),
    ],
)
def test_wrong_settings(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        access_of(definition(tmp_path, text), [])
    assert caught.value.origin.line == line


@pytest.mark.parametrize(
    ("text", "version", "said"),
    [
        ("", 3, []),
        ("version = 2\n", 2, []),
        ("version = 2\nserver_host = ldaps://a\n", 3, ["version: TLS"]),
        ("version = 2\nstart_tls = yes\n", 3, ["version: TLS"]),
        ("version = 9\ndereference = 7\n", 3, ["version: unknown version 9", "dereference: 0 to 3"]),
    ],
)
def test_settings_that_are_mended(tmp_path: Path, text: str, version: int, said: list[str]) -> None:
    warnings: list[Problem] = []
    access = access_of(definition(tmp_path, text), warnings)
    assert access.version == version
    assert access.dereference == 0
    assert [problem.text[: len(start)] for problem, start in zip(warnings, said, strict=True)] == said


@pytest.mark.parametrize(
    ("text", "bind"), [("", "simple"), ("bind = no\n", "none"), ("bind = SASL\n", "sasl"), ("bind = None\n", "none")]
)
def test_ways_to_bind(tmp_path: Path, text: str, bind: str) -> None:
    assert access_of(definition(tmp_path, text), []).bind == bind
