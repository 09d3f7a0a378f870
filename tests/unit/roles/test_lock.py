import fcntl
import os
import threading
from pathlib import Path

import pytest

from postwarden.roles import lock


def test_the_second_holder_is_refused_and_told_the_first(tmp_path: Path) -> None:
    path = lock.pid_file(str(tmp_path))
    fd = lock.hold(path)
    assert path.read_text() == f"{os.getpid():10d}\n"
    with pytest.raises(lock.AlreadyRunning) as refused:
        lock.hold(path)
    assert refused.value.pid == os.getpid()
    assert lock.running(str(tmp_path)) == os.getpid()
    os.close(fd)
    assert lock.running(str(tmp_path)) == 0
    os.close(lock.hold(path))


def test_whoever_asks_keeps_nobody_from_starting_and_hides_nothing(tmp_path: Path) -> None:
    path = lock.pid_file(str(tmp_path))
    os.close(lock.hold(path))
    asking = os.open(path, os.O_RDWR)
    fcntl.flock(asking, fcntl.LOCK_SH)
    assert lock.running(str(tmp_path)) == 0
    threading.Timer(0.01, os.close, [asking]).start()
    os.close(lock.hold(path))


def test_nothing_runs_where_nothing_is(tmp_path: Path) -> None:
    assert lock.running(str(tmp_path)) == 0


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "pid").mkdir()
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "pid" / "master.pid").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError):
        lock.hold(lock.pid_file(str(tmp_path)))
    assert (tmp_path / "victim").read_text() == "precious"


def test_another_name_of_somebodys_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "pid").mkdir()
    (tmp_path / "pid" / "master.pid").hardlink_to(tmp_path / "victim")
    with pytest.raises(PermissionError, match="one name"):
        lock.hold(lock.pid_file(str(tmp_path)))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(PermissionError, match="regular"):
        lock.hold(tmp_path / "fifo")
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_new_lock_is_the_mail_owners_and_an_old_one_stays_whose_it_is(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.close(lock.hold(tmp_path / "new", (65534, 65534)))
    assert (tmp_path / "new").stat().st_uid == 65534
    (tmp_path / "old").touch()
    os.close(lock.hold(tmp_path / "old", (65534, 65534)))
    assert (tmp_path / "old").stat().st_uid == 0
