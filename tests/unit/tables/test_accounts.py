from pathlib import Path

import pytest

from postwarden.mail.decision import Origin
from postwarden.tables import accounts
from postwarden.tables.accounts import AccountTable, LoginTable, sources

HERE = Origin("main.cf", 1, "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("passwd: files systemd", ["files", "systemd"]),
        ("passwd:files[NOTFOUND=return]ldap # far", ["files", "ldap"]),
        ("  passwd :\tsss files", ["sss", "files"]),
        ("group: ldap", ["files"]),
        ("", ["files"]),
    ],
)
def test_sources(tmp_path: Path, line: str, expected: list[str]) -> None:
    (tmp_path / "nss").write_text(f"# comment\nhosts: dns\n{line}\n")
    assert sources("passwd", str(tmp_path / "nss")) == expected


def test_without_the_file_there_are_files(tmp_path: Path) -> None:
    assert sources("passwd", str(tmp_path / "nss")) == ["files"]


@pytest.mark.parametrize(("source", "slow"), [("files", False), ("files systemd", False), ("files sss", True)])
def test_what_asks_other_machines_is_slow(tmp_path: Path, source: str, slow: bool) -> None:
    (tmp_path / "nss").write_text(f"passwd: {source}\n")
    table = AccountTable("unix:passwd.byname", "passwd.byname", HERE, switch=str(tmp_path / "nss"))
    assert table.slow is slow
    found = table.get("root")
    assert found is not None and found.value.startswith("root:")


def test_a_look_up_that_takes_long_makes_it_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = AccountTable("unix:passwd.byname", "passwd.byname", HERE, switch=str(tmp_path / "nss"))
    table.get("root")
    assert not table.slow
    monkeypatch.setattr(accounts, "SLOW_SECONDS", -1.0)
    table.get("daemon")
    assert table.slow


def test_names_of_users_by_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nss").write_text("passwd: files ldap\n")
    assert LoginTable(lambda uid: "", switch=str(tmp_path / "nss")).slow
    table = LoginTable(lambda uid: "joe" if uid == 7 else "", switch=str(tmp_path / "none"))
    found = table.get("7")
    assert found is not None and found.value == "joe"
    assert table.get("8") is None
    assert not table.slow
    monkeypatch.setattr(accounts, "SLOW_SECONDS", -1.0)
    table.get("7")
    assert table.slow
