import errno
from pathlib import Path

from postwarden.spool.reserve import Reserve
from postwarden.testing.spool import FaultyFiles


def test_made_where_there_is_much_room_and_given_back(tmp_path: Path) -> None:
    files = FaultyFiles()
    path = tmp_path / "reserve"
    reserve = Reserve(str(path), files)
    files.capacity = 10 << 20
    reserve.fill(2 << 20)
    assert not path.exists()
    files.capacity = 100 << 20
    reserve.fill(2 << 20)
    assert path.stat().st_size == 2 << 20
    assert reserve.release()
    assert not path.exists()
    assert not reserve.release()


def test_a_fault_leaves_nothing(tmp_path: Path) -> None:
    files = FaultyFiles()
    files.fail("write", errno.ENOSPC)
    path = tmp_path / "reserve"
    Reserve(str(path), files).fill(1 << 20)
    assert not path.exists()
