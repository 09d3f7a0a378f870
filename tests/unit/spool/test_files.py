import os
from pathlib import Path

import pytest

from postwarden.spool.files import DiskFiles, give_spool, locked, make_spool, strange_file


def test_write_more_buffers_than_one_call_takes(tmp_path: Path) -> None:
    files = DiskFiles()
    path = str(tmp_path / "f")
    fd = files.create(path)
    parts = [b"%d;" % n for n in range(3000)]
    files.write(fd, parts)
    files.sync(fd)
    files.close(fd)
    assert Path(path).read_bytes() == b"".join(parts)


def test_a_short_write_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = DiskFiles()
    fd = files.create(str(tmp_path / "f"))
    monkeypatch.setattr(os, "writev", lambda fd, parts: os.write(fd, b"".join(parts)[:3]))
    files.write(fd, [b"abcd", b"efgh"])
    assert (tmp_path / "f").read_bytes() == b"abcdefgh"
    files.close(fd)


def test_lock_lasts_as_long_as_the_file_is_open(tmp_path: Path) -> None:
    files = DiskFiles()
    path = str(tmp_path / "f")
    fd = files.create(path)
    assert locked(path)
    files.close(fd)
    assert not locked(path)


def test_create_never_takes_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("link", "file"):
        (tmp_path / "file").touch()
        with pytest.raises(FileExistsError):
            DiskFiles().create(str(tmp_path / name))


def test_directories(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c"
    DiskFiles().make_directory(str(path))
    DiskFiles().make_directory(str(path))
    assert path.is_dir()
    assert path.stat().st_mode & 0o777 == 0o700


def test_spool_directory_is_private_and_no_link(tmp_path: Path) -> None:
    path = tmp_path / "queue" / "postwarden"
    make_spool(str(path), (os.getuid(), os.getgid()))
    path.chmod(0o755)
    make_spool(str(path))
    assert path.stat().st_mode & 0o777 == 0o711  # passed through by all, listed by none
    assert (path / "public").stat().st_mode & 0o777 == 0o755
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        make_spool(str(tmp_path / "link"))


@pytest.mark.skipif(os.geteuid() != 0, reason="giving away needs root")
def test_a_queue_that_root_copied_is_given_to_its_owner(tmp_path: Path) -> None:
    spool, elsewhere = tmp_path / "postwarden", tmp_path / "precious"
    (spool / "incoming" / "1").mkdir(parents=True)
    (spool / "maildrop").mkdir()
    elsewhere.write_text("x")
    mine = [spool / "queue.db", spool / "courier.lock", spool / "incoming" / "1" / "x.segment"]
    for path in (*mine, spool / "maildrop" / "handed-in"):
        path.write_text("x")
    (spool / "linked").symlink_to(elsewhere)
    (spool / "incoming" / "1" / "linked").symlink_to(elsewhere)
    os.link(elsewhere, spool / "incoming" / "1" / "named-twice")
    os.mkfifo(spool / "incoming" / "1" / "pipe")
    owner = (65534, 65533)
    (spool / "notes-of-an-operator").write_text("x")
    assert strange_file(str(spool), owner) == str(spool / "courier.lock")
    assert give_spool(str(spool), owner) == 7
    assert strange_file(str(spool), owner) == ""
    (spool / "incoming" / "2").mkdir()
    assert strange_file(str(spool), owner) == str(spool / "incoming" / "2")
    (spool / "incoming" / "2").rmdir()
    assert give_spool(str(spool), owner) == 0
    os.chown(spool / "notes-of-an-operator", 0, 0)
    given = [spool, spool / "incoming", spool / "incoming" / "1", *mine]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in given} == {owner}
    for path in (elsewhere, spool / "maildrop", spool / "maildrop" / "handed-in"):
        assert path.stat().st_uid == 0
