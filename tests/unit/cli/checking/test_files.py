import os
import pwd
from pathlib import Path

import pytest

from postwarden.cli.checking import files
from postwarden.config.settings import load
from postwarden.spool.files import make_spool
from postwarden.spool.layout import spool_directory
from postwarden.spool.maildrop import maildrop_directory, make_maildrop

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of several owners")
MAIL = pwd.getpwnam("mail")


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    for name in ("etc", "queue", "data"):
        (tmp_path / name).mkdir(mode=0o755)
    if os.geteuid() == 0:
        os.chown(tmp_path / "data", MAIL.pw_uid, MAIL.pw_gid)
    (tmp_path / "etc" / "main.cf").write_text(
        f"compatibility_level = 3.6\nqueue_directory = {tmp_path}/queue\ndata_directory = {tmp_path}/data\n"
        f"mail_owner = mail\nalias_maps = hash:{tmp_path}/aliases\n"
    )
    (tmp_path / "etc" / "master.cf").write_text("smtp inet n - n - - smtpd\n")
    (tmp_path / "aliases").write_text("root: alice\n")
    for path in (tmp_path / "etc" / "main.cf", tmp_path / "etc" / "master.cf", tmp_path / "aliases"):
        path.chmod(0o644)
    return tmp_path / "etc"


def said(etc: Path) -> list[tuple[str, str, str]]:
    base = f"{etc.parent}/"
    return [(f.severity, str(f.origin).replace(base, ""), f.what.replace(base, "")) for f in files.findings(load(etc))]


def test_nothing_is_said_of_a_sound_place(etc: Path) -> None:
    assert said(etc) == []
    make_spool(spool_directory(f"{etc.parent}/queue"), (MAIL.pw_uid, MAIL.pw_gid) if os.geteuid() == 0 else None)
    make_maildrop(maildrop_directory(f"{etc.parent}/queue"))
    assert said(etc) == []


def test_what_everybody_can_write(etc: Path) -> None:
    (etc / "main.cf").chmod(0o666)
    (etc.parent / "aliases").chmod(0o646)
    (etc.parent / "queue").chmod(0o777)
    assert said(etc) == [
        ("warning", "etc/main.cf", "etc/main.cf can be written by everybody"),
        ("warning", "etc/main.cf:5", "aliases can be written by everybody"),
        ("warning", "etc/main.cf:2", "everybody may write to queue"),
    ]


@ROOT
def test_whose_the_files_are(etc: Path) -> None:
    os.chown(etc / "master.cf", MAIL.pw_uid, 0)
    os.chown(etc.parent / "data", 0, 0)
    assert said(etc) == [
        ("warning", "etc/master.cf", "etc/master.cf belongs to mail, and not to root"),
        ("warning", "etc/main.cf:3", "data belongs to root, and not to mail"),
    ]


@ROOT
def test_a_group_that_can_write(etc: Path) -> None:
    os.chown(etc / "main.cf", 0, MAIL.pw_gid)
    (etc / "main.cf").chmod(0o664)
    assert said(etc) == [("warning", "etc/main.cf", f"etc/main.cf can be written by the group {MAIL.pw_gid}")]
    os.chown(etc / "main.cf", 0, 0)
    assert said(etc) == []


@ROOT
def test_a_queue_of_somebody_else(etc: Path) -> None:
    queue = spool_directory(f"{etc.parent}/queue")
    make_spool(queue, (MAIL.pw_uid, MAIL.pw_gid))
    (Path(queue) / "queue.db").touch()
    (found,) = said(etc)
    assert found == ("error", "etc/main.cf:2", "queue/postwarden/queue.db does not belong to mail")


@ROOT
def test_a_mail_owner_that_is_not_there(etc: Path) -> None:
    with (etc / "main.cf").open("a") as file:
        file.write("mail_owner = nobody-has-this-name\n")
    (found,) = said(etc)
    assert found[:2] == ("error", "etc/main.cf:6") and "useradd" in found[2]


def test_a_maildrop_that_is_not_open(etc: Path) -> None:
    make_spool(spool_directory(f"{etc.parent}/queue"), (MAIL.pw_uid, MAIL.pw_gid) if os.geteuid() == 0 else None)
    drop = maildrop_directory(f"{etc.parent}/queue")
    make_maildrop(drop)
    os.chmod(drop, 0o700)
    assert said(etc) == [("warning", "etc/main.cf:2", "queue/postwarden/maildrop has the mode 700, and not 1733")]


def test_who_may_not_see_all_is_told_so(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = (etc.parent / "queue").stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: uid + 1)
    assert ("note", "etc/main.cf:2", "this check runs as an ordinary user") in said(etc)
