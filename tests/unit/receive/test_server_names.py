import base64
from pathlib import Path

import pytest

from postwarden.mail.decision import Pending
from postwarden.receive.server_names import ServerNames
from postwarden.tables.maps import Maps
from postwarden.tables.opening import Tables
from postwarden.tables.table import Found, TableError

PEM = b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"
CODED = base64.b64encode(PEM).decode()


class Waits:
    def __init__(self) -> None:
        self.waiting: list[object] = []

    def wait(self, fetch: object, done: object) -> None:
        self.waiting.append(fetch)


class Other:
    fixed, slow, name = True, False, "other:it"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get(self, key: str) -> Found | None:
        raise self._error

    def stale(self) -> bool:
        return False

    def reload(self) -> None:
        return


def names(*entries: str) -> tuple[ServerNames, list[str]]:
    said: list[str] = []
    table = "inline:{" + " ".join(f"{{{entry}}}" for entry in entries) + "}"
    return ServerNames(Tables("/etc/postfix").maps((table,)), Waits(), said.append), said


@pytest.mark.parametrize(
    ("entry", "asked", "found"),
    [
        ("a.example", "a.example", True),
        ("a.example", "A.Example", True),
        (".example", "a.b.example", True),
        (".b.example", "a.b.example", True),
        ("b.example", "a.b.example", False),
        (".a.example", "a.example", False),
    ],
)
def test_by_name_or_parent(entry: str, asked: str, found: bool) -> None:
    lookup, said = names(f"{entry} = {CODED}")
    assert lookup(asked) == (PEM if found else None)
    assert said == []


def test_files_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(PEM)
    lookup, said = names(f"a.example = {tmp_path}/one, {tmp_path}/one", f"b.example = {tmp_path}/lost")
    assert lookup("a.example") == PEM + b"\n" + PEM + b"\n"
    assert lookup("b.example") is None
    assert "No such file" in said[0] and "b.example" in said[0]


def test_a_table_that_fails_or_has_to_be_asked() -> None:
    said: list[str] = []
    assert ServerNames(Maps([Other(TableError("other:it", "down"))]), Waits(), said.append)("a.example") is None
    assert said == ["TLS certificate of a.example: other:it: down"]
    waits = Waits()

    async def fetch() -> None:
        return

    assert ServerNames(Maps([Other(Pending(fetch))]), waits, said.append)("a.example") is None
    assert waits.waiting == [fetch]
