import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from postwarden.spool.maildrop import REFUSED, Maildrop, drop, maildrop_directory, make_maildrop


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "postwarden").mkdir()
    place = Path(maildrop_directory(str(tmp_path)))
    make_maildrop(str(place))
    return place


def names(directory: Path) -> list[str]:
    maildrop = Maildrop(str(directory))
    found = [one.name for one in maildrop.complete()]
    maildrop.close()
    return found


def test_everybody_may_write_and_nobody_may_look(directory: Path) -> None:
    assert stat.S_IMODE(directory.stat().st_mode) == 0o1733
    directory.chmod(0o700)
    make_maildrop(str(directory))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o1733


def test_a_message_that_was_left_is_found_once_it_is_whole(directory: Path) -> None:
    seen = []

    def parts() -> Iterator[bytes]:
        yield b"one"
        seen.extend(names(directory))
        yield b"two"

    name = drop(str(directory), parts())
    assert seen == []
    assert names(directory) == [name]
    maildrop = Maildrop(str(directory))
    fd, one = maildrop.open(name)
    assert os.read(fd, 100) == b"onetwo"
    assert (one.uid, one.size) == (os.geteuid(), 6)
    assert stat.S_IMODE((directory / name).stat().st_mode) == 0o700
    os.close(fd)
    maildrop.remove(name)
    maildrop.close()
    assert not os.listdir(directory)


def test_nothing_is_left_of_what_was_not_finished(directory: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"one"
        raise ValueError

    with pytest.raises(ValueError):
        drop(str(directory), parts())
    assert not os.listdir(directory)


def test_only_into_a_maildrop_directory(tmp_path: Path, directory: Path) -> None:
    """Its place belongs to the mail system: a link there must not have a user, or root, write somewhere else."""
    other = tmp_path / "other"
    other.mkdir(mode=0o755)
    directory.rmdir()
    directory.symlink_to(other)
    for doing in (lambda: drop(str(directory), [b"x"]), lambda: Maildrop(str(directory))):
        with pytest.raises(OSError):
            doing()
    directory.unlink()
    directory.mkdir(mode=0o755)
    with pytest.raises(PermissionError):
        drop(str(directory), [b"x"])
    assert not os.listdir(other)
    assert not os.listdir(directory)


def plant(directory: Path, name: str, mode: int = 0o700) -> Path:
    path = directory / name
    path.write_text("x")
    path.chmod(mode)
    return path


def test_what_is_no_message_is_not_looked_at(directory: Path, tmp_path: Path) -> None:
    good = "0" * 32
    plant(directory, good)
    plant(directory, "1" * 32, 0o600)
    plant(directory, "other")
    (directory / ("2" * 32)).symlink_to("/etc/passwd")
    os.mkfifo(directory / ("3" * 32), 0o700)
    (directory / ("4" * 32)).mkdir()
    os.link(plant(tmp_path, "second name"), directory / ("5" * 32))
    assert names(directory) == [good]
    maildrop = Maildrop(str(directory))
    for digit in "12345":
        with pytest.raises(OSError):
            maildrop.open(digit * 32)
    maildrop.close()


def test_what_was_never_finished_goes_after_a_while(directory: Path) -> None:
    plant(directory, "0" * 32)
    plant(directory, "1" * 32, 0o600)
    (directory / ("4" * 32)).mkdir()
    plant(directory, REFUSED + "2" * 32)
    maildrop = Maildrop(str(directory))
    assert list(maildrop.leftovers(time.time() - 60)) == []
    late = time.time() + 60
    assert sorted(maildrop.leftovers(late)) == ["1" * 32, "4" * 32]
    for name in list(maildrop.leftovers(late)):
        maildrop.remove(name)
    maildrop.close()
    assert sorted(os.listdir(directory)) == ["0" * 32, REFUSED + "2" * 32]


def test_what_is_refused_is_kept_under_another_name(directory: Path) -> None:
    name = drop(str(directory), [b"x"])
    maildrop = Maildrop(str(directory))
    assert maildrop.set_aside(name) == REFUSED + name
    assert list(maildrop.complete()) == []
    maildrop.close()
    assert os.listdir(directory) == [REFUSED + name]


@pytest.mark.parametrize("when", [1 << 33, 1 << 60, -5])
def test_no_file_is_of_a_time_that_has_no_name(directory: Path, when: int) -> None:
    """Who owns a file may set its time; `mailq` of root prints it."""
    name = drop(str(directory), [b"x"])
    maildrop = Maildrop(str(directory))
    os.utime(directory / name, (0, when))
    (one,) = maildrop.complete()
    assert time.localtime(one.when).tm_year < 2500
    fd, opened = maildrop.open(name)
    os.close(fd)
    assert opened == one
    maildrop.close()


def test_whether_a_file_is_there(directory: Path) -> None:
    name = drop(str(directory), [b"x"])
    maildrop = Maildrop(str(directory))
    (directory / ("1" * 32)).write_text("incomplete")
    assert [maildrop.has(one) for one in (name, "1" * 32, "2" * 32, "../public", "ABC")] == [True, *[False] * 4]
    maildrop.close()


@pytest.mark.root
def test_a_directory_of_somebody_else_is_not_read(directory: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.chown(directory, 12345, 12345)
    with pytest.raises(PermissionError):
        Maildrop(str(directory)).close()


@pytest.mark.root
def test_a_gateway_that_is_not_root_can_read_the_mail_of_others(directory: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.chown(directory, 12345, 12345)
    name = drop(str(directory), [b"x"])
    assert stat.S_IMODE((directory / name).stat().st_mode) == 0o744
