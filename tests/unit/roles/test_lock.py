import os
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


def test_nothing_runs_where_nothing_is(tmp_path: Path) -> None:
    assert lock.running(str(tmp_path)) == 0


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "pid").mkdir()
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "pid" / "master.pid").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError):
        lock.hold(lock.pid_file(str(tmp_path)))
    assert (tmp_path / "victim").read_text() == "precious"
