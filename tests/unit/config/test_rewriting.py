import os
import threading
from pathlib import Path

import pytest

from postwarden.config.rewriting import rewrite


def test_mode_and_links_stay(tmp_path: Path) -> None:
    file, link = tmp_path / "real.cf", tmp_path / "main.cf"
    file.write_bytes(b"old")
    file.chmod(0o640)
    link.symlink_to("real.cf")
    rewrite(str(link), lambda data: data + b" new")
    assert file.read_bytes() == b"old new"
    assert file.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["main.cf", "real.cf"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(tmp_path: Path) -> None:
    file = tmp_path / "main.cf"
    file.write_bytes(b"old")
    os.chown(file, 12, 34)
    rewrite(str(file), lambda data: b"new")
    assert (file.stat().st_uid, file.stat().st_gid) == (12, 34)


def test_what_does_not_change_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "main.cf"
    file.write_bytes(b"old")
    before = file.stat()
    rewrite(str(file), lambda data: data)
    assert file.stat().st_ino == before.st_ino


def test_a_mistake_leaves_everything_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "main.cf"
    file.write_bytes(b"old")

    def fail(data: bytes) -> bytes:
        raise ValueError

    with pytest.raises(ValueError):
        rewrite(str(file), fail)
    with pytest.raises(FileNotFoundError):
        rewrite(str(tmp_path / "nosuch"), lambda data: b"")
    assert os.listdir(tmp_path) == ["main.cf"]
    assert file.read_bytes() == b"old"


def test_no_link_in_the_place_of_the_new_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_bytes(b"old")
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "main.cf.tmp").symlink_to("victim")
    with pytest.raises(OSError):
        rewrite(str(tmp_path / "main.cf"), lambda data: b"new")
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_changes_at_the_same_time_all_count(tmp_path: Path) -> None:
    file = tmp_path / "main.cf"
    file.write_bytes(b"")

    def add(letter: bytes) -> None:
        for _ in range(20):
            rewrite(str(file), lambda data: data + letter)

    threads = [threading.Thread(target=add, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(file.read_bytes()) == sorted(b"abc" * 20)
    assert os.listdir(tmp_path) == ["main.cf"]
