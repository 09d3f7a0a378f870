import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.addressing.aliases import Destination, Kind, destinations, include_lines


def address(*names: str) -> list[Destination]:
    return [Destination(Kind.ADDRESS, name) for name in names]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("joe", address("joe")),
        ("joe, jane", address("joe", "jane")),
        ("joe jane", address("joe", "jane")),
        ("joe,,jane;", address("joe", "jane")),
        ("joe@a.example , jane@b.example", address("joe@a.example", "jane@b.example")),
        ("joe @ a . example", address("joe@a.example")),
        ('"jo e"@a.example', address("jo e@a.example")),
        ('jo." e"', address("jo. e")),
        ("jo\\,e", address("jo,e")),
        ("Joe User <joe@a>, (comment, (nested)) jane (other)", address("joe@a", "jane")),
        ('"User, Joe" <"jo>e"@a>', address("jo>e@a")),
        ("<>", address("")),
        ('""', address("")),
        ("friends: joe, jane;", address("joe", "jane")),
        ("friends:joe, jane;", address("joe", "jane")),
        ("@relay.example:joe@a", address("joe@a")),
        ("<@relay.example,@b:joe@a>", address("joe@a")),
        ("joe@[192.0.2.1]", address("joe@[192.0.2.1]")),
        ("joe%b@a!c", address("joe%b@a!c")),
        ("\\joe", address("\\joe")),
        ("", []),
        (" , ", []),
        ("(nothing", []),
        ("/var/tmp/file", [Destination(Kind.FILE, "/var/tmp/file")]),
        ("/var/tmp/dir/, joe", [Destination(Kind.FILE, "/var/tmp/dir/"), *address("joe")]),
        ('"/var/tmp/two words"', [Destination(Kind.FILE, "/var/tmp/two words")]),
        ("/var/a:b", [Destination(Kind.FILE, "/var/a:b")]),
        ('"|/bin/cat -n, x"', [Destination(Kind.COMMAND, "/bin/cat -n, x")]),
        ('|"/bin/cat -n"', [Destination(Kind.COMMAND, "/bin/cat -n")]),
        (":include:/etc/list", [Destination(Kind.INCLUDE, "/etc/list")]),
        (':Include:"/etc/my list", joe', [Destination(Kind.INCLUDE, "/etc/my list"), *address("joe")]),
        ("joe :include:/etc/list", [*address("joe"), Destination(Kind.INCLUDE, "/etc/list")]),
        ("ж@a", address("ж@a")),
    ],
)
def test_destinations(text: str, expected: list[Destination]) -> None:
    assert destinations(text) == expected


def test_include_lines() -> None:
    assert include_lines(b"# comment\n\n joe, jane \r\n|cmd\n") == ["joe, jane", "|cmd"]


def test_an_include_file_of_other_bytes_is_refused() -> None:
    with pytest.raises(UnicodeError):
        include_lines(b"jos\xe9\n")


@given(st.text(alphabet='ab @."\\,;:<>()[]/|\n\t', max_size=60))
def test_any_text_gives_destinations(text: str) -> None:
    for destination in destinations(text):
        assert isinstance(destination.value, str)


@given(st.lists(st.from_regex(r"[a-z0-9]{1,8}@[a-z]{1,8}\.example", fullmatch=True), max_size=5))
def test_plain_addresses_come_back(names: list[str]) -> None:
    assert destinations(", ".join(names)) == address(*names)
