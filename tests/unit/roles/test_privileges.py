import os
import pwd
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from postwarden.roles.privileges import NoSuchUser, become, look_up, raise_open_files

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def in_child(act: Callable[[], str]) -> str:
    """What `act` says in a process of its own, since it can't be undone."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        try:
            said = act()
        except BaseException as error:
            said = repr(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


def test_a_user_that_is_not_there_comes_with_the_command_that_makes_it() -> None:
    with pytest.raises(NoSuchUser, match=r"useradd --system .* no-such-user-here"):
        look_up("no-such-user-here")


def test_root_gives_up_nothing_and_is_refused() -> None:
    with pytest.raises(NoSuchUser, match="this user is root"):
        look_up("root")


def test_nobody_is_nobody_to_become() -> None:
    before = os.getresuid()
    become("")
    assert os.getresuid() == before


@root
def test_become_is_for_good() -> None:
    account = pwd.getpwnam("nobody")

    def act() -> str:
        become("nobody")
        try:
            os.setuid(0)
        except PermissionError:
            return f"{os.getresuid()} {os.getresgid()} {os.getgroups()}"
        return "root again"

    uid, gid = account.pw_uid, account.pw_gid
    assert in_child(act) == f"{(uid, uid, uid)} {(gid, gid, gid)} []"


@root
def test_what_was_handed_over_can_be_read_as_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("secret")
    path.chmod(0o600)

    def act() -> str:
        fd = os.memfd_create("key")
        os.write(fd, path.read_bytes())
        become("nobody")
        try:
            path.read_bytes()
        except PermissionError:
            return Path(f"/proc/self/fd/{fd}").read_text()
        return "the file itself could be read"

    assert in_child(act) == "secret"


def test_the_limit_of_open_files_goes_up_and_never_down() -> None:
    def act() -> str:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
        first = raise_open_files(1024)
        return f"{first >= 1024 or first == hard} {raise_open_files(512) >= first}"

    assert in_child(act) == "True True"
