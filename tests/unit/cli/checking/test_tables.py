import os
import stat
from pathlib import Path

import pytest

from postwarden.cli.checking import tables
from postwarden.config.settings import load

OTHERS = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a file that another user may not read")


def said(directory: Path, main_cf: str) -> list[tuple[str, str, str]]:
    (directory / "main.cf").write_text("compatibility_level = 3.6\nalias_maps =\nmail_owner = mail\n" + main_cf)
    return [
        (f.severity, str(f.origin).rpartition("/")[2], f.what.replace(f"{directory}/", ""))
        for f in tables.findings(load(directory))
    ]


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    for path in (tmp_path, *tmp_path.parents):
        if str(path).startswith("/tmp/"):
            path.chmod(path.stat().st_mode | 0o055 & ~0o022)
    (tmp_path / "map").write_text("a@x.example b@x.example\n")
    return tmp_path


def older(path: Path, than: Path, seconds: float) -> None:
    moment = than.stat().st_mtime - seconds
    os.utime(path, (moment, moment))


def test_nothing_is_said_of_a_plain_table(etc: Path) -> None:
    assert said(etc, "virtual_alias_maps = hash:map, inline:{x@y.example=z@y.example}\n") == []


def test_a_db_beside_that_is_as_old_as_its_source_serves_postfix(etc: Path) -> None:
    (etc / "map.db").write_bytes(b"")
    assert said(etc, "virtual_alias_maps = hash:map\n") == []


def test_a_db_that_is_older_than_its_source(etc: Path) -> None:
    (etc / "map.db").write_bytes(b"")
    older(etc / "map.db", etc / "map", 60)
    assert said(etc, "virtual_alias_maps = hash:map\n") == [("warning", "main.cf:4", "map.db is older than its source")]
    (etc / "map.lmdb").write_bytes(b"")
    assert ("warning", "main.cf:4", "map.db is older than its source") in said(etc, "virtual_alias_maps = hash:map\n")


def test_a_db_alone_can_not_be_read(etc: Path) -> None:
    (etc / "map.db").write_bytes(b"")
    (etc / "map").unlink()
    assert said(etc, "virtual_alias_maps = hash:map\n") == [("error", "main.cf:4", "hash:map: there is only map.db")]


@OTHERS
def test_a_file_that_the_mail_system_may_not_read(etc: Path) -> None:
    (etc / "map").chmod(0o600)
    (found,) = said(etc, "virtual_alias_maps = hash:map\n")
    assert found == ("error", "main.cf:4", "hash:map: mail may not read map")
    (etc / "map").chmod(0o644)
    (etc / "shut").mkdir(mode=0o700)
    (etc / "shut" / "map").write_text("a b\n")
    (found,) = said(etc, "virtual_alias_maps = hash:shut/map\n")
    assert found[2].endswith("shut")
    (found,) = said(etc, "alias_maps = hash:shut/map\n")  # smtpd looks for recipients in them
    assert found[2].endswith("shut")
    assert said(etc, "mailbox_command_maps = hash:shut/map\n") == []


@pytest.mark.parametrize(
    ("rows", "loop"),
    [
        ("a@x.example b@x.example\nb@x.example a@x.example\n", "a@x.example -> b@x.example -> a@x.example"),
        ("c d\nd e, f\ne c\nf g\n", "c -> d -> e -> c"),
        ("a@x.example a@x.example\n", ""),
        ("a@x.example a@x.example, b@x.example\nb@x.example a@x.example\n", ""),
        ("a b, c\nb d\nc d\n", ""),
    ],
)
def test_loops_of_virtual_aliases(etc: Path, rows: str, loop: str) -> None:
    (etc / "map").write_text(rows)
    found = said(etc, "virtual_alias_maps = hash:map\n")
    assert found == ([("error", "map:1", f"virtual_alias_maps: loop: {loop}")] if loop else [])


def test_loops_of_aliases_know_our_own_domains(etc: Path) -> None:
    (etc / "aliases").write_text("root: joe\njoe: sue@mx.example.com\nsue: root, other\nme: me\n")
    main_cf = "mydestination = mx.example.com\nalias_maps = hash:aliases\n"
    assert said(etc, main_cf) == [("error", "aliases:1", "alias_maps: loop: root -> joe -> sue -> root")]


def test_a_long_chain_is_followed_without_recursion() -> None:
    edges = {str(n): (str(n + 1),) for n in range(50_000)}
    assert list(tables.cycles(edges)) == []
    edges["49999"] = ("0",)
    (loop,) = tables.cycles(edges)
    assert len(loop) == 50_000


@pytest.mark.parametrize(("mode", "told"), [(0o644, True), (0o600, False)])
def test_passwords_that_all_may_read(etc: Path, mode: int, told: bool) -> None:
    (etc / "sasl").write_text("[gw.example.net] me:secret\n")
    (etc / "sasl").chmod(mode)
    (etc / "my.cf").write_text("user = me\npassword = secret\n")
    (etc / "my.cf").chmod(mode)
    (etc / "free.cf").write_text("hosts = localhost\n")
    found = said(
        etc, f"smtp_sasl_password_maps = hash:{etc}/sasl\nvirtual_alias_maps = mysql:{etc}/my.cf, pgsql:{etc}/free.cf\n"
    )
    expected = [
        ("warning", "main.cf:4", "everybody on this machine may read the password in sasl"),
        ("warning", "main.cf:5", "everybody on this machine may read the password in my.cf"),
    ]
    assert sorted(found) == (expected if told else [])
    assert stat.S_IMODE((etc / "sasl").stat().st_mode) == mode
