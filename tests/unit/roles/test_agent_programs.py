"""Programs that really run, as whoever runs the tests, and as others where root does."""

import contextlib
import os
import pwd
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.passable import passable

from postwarden.deliver.local.ports import NotPermitted
from postwarden.deliver.programs.ports import OUTPUT_LIMIT, Program, Ran
from postwarden.roles.agent_programs import SystemPrograms
from postwarden.roles.identity import OwnIdentity

ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "A": "b\udcff"}
# The tests' process has threads, a worker has none.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
needs_root = pytest.mark.skipif(not ROOT, reason="needs root")


class Rooted:
    """A process that rests as nobody, without becoming it for good."""

    @contextlib.contextmanager
    def acting_as(self, uid: int, gid: int) -> Iterator[None]:
        before = os.geteuid()
        os.seteuid(0)
        try:
            yield
        finally:
            os.seteuid(before)

    def may_act_as(self, uid: int) -> bool:
        return True


def as_an_ordinary_user(what: Callable[[], None]) -> None:
    """In a process of its own where root runs the tests: who has become somebody else does not come back."""
    if not ROOT:
        what()
        return
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgroups([NOBODY.pw_gid])
            os.setresgid(NOBODY.pw_gid, NOBODY.pw_gid, NOBODY.pw_gid)
            os.setresuid(NOBODY.pw_uid, NOBODY.pw_uid, NOBODY.pw_uid)
            what()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def run(*argv: str, given: tuple[bytes, ...] = (b"hello\n",), limit: float = 20.0, **more: object) -> Ran:
    uid, gid = (NOBODY.pw_uid, NOBODY.pw_gid) if ROOT else (os.getuid(), os.getgid())
    program = Program(argv, ENVIRONMENT, uid, gid, limit, **more)  # type: ignore[arg-type]
    programs = SystemPrograms(Rooted() if ROOT else OwnIdentity(), "/")
    return programs.run(program, given)


def shell(command: str, **more: object) -> Ran:
    return run("/bin/sh", "-c", command, **more)  # type: ignore[arg-type]


def test_input_and_output() -> None:
    assert run("cat", given=(b"a\n", b"b\n")) == Ran(b"a\nb\n")
    assert run("/bin/cat", given=()) == Ran()


def test_both_outputs_are_one() -> None:
    assert shell("echo out; echo err >&2") == Ran(b"out\nerr\n")


def test_exits_and_signals() -> None:
    assert shell("exit 75") == Ran(exit=75)
    assert shell("kill -9 $$") == Ran(signal=9)


def test_the_environment_is_ours() -> None:
    assert set(run("env").output.splitlines()) == {b"PATH=/usr/bin:/bin", b"A=b\xff"}


def test_nothing_of_the_agents_is_open() -> None:
    with open("/etc/passwd", "rb") as file:
        os.set_inheritable(file.fileno(), True)
        os.dup2(file.fileno(), 200, inheritable=True)
        try:
            listed = shell("ls /proc/self/fd").output.split()
        finally:
            os.close(200)
    # ls has its directory open, too.
    assert listed == [b"0", b"1", b"2", b"3"]


def test_signals_are_as_after_a_start() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        status = shell("cat /proc/self/status").output.decode()
    finally:
        signal.signal(signal.SIGHUP, before)
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["SigBlk"], 16) == 0
    ignored = int(fields["SigIgn"], 16)
    assert not ignored & (1 << (signal.SIGHUP - 1) | 1 << (signal.SIGTERM - 1))
    assert ignored & (1 << (signal.SIGPIPE - 1))


def test_it_leads_a_session() -> None:
    pid, pgrp, session = shell("echo $$; cut -d' ' -f5,6 /proc/$$/stat").output.split()
    assert pid == pgrp == session


@needs_root
def test_it_has_the_users_rights_and_no_others() -> None:
    status = shell("cat /proc/self/status").output.decode()
    assert f"Uid:\t{NOBODY.pw_uid}\t{NOBODY.pw_uid}\t{NOBODY.pw_uid}\t{NOBODY.pw_uid}\n" in status
    assert f"Gid:\t{NOBODY.pw_gid}\t{NOBODY.pw_gid}\t{NOBODY.pw_gid}\t{NOBODY.pw_gid}\n" in status
    assert f"Groups:\t{NOBODY.pw_gid} \n" in status
    assert "CapEff:\t0000000000000000\n" in status


def test_an_ordinary_user_runs_programs_for_nobody_else() -> None:
    def attempt() -> None:
        me = os.getuid()
        programs = SystemPrograms(OwnIdentity(), "/")
        assert programs.run(Program(("id", "-u"), ENVIRONMENT, me, os.getgid(), 20.0), ()).output == b"%d\n" % me
        for uid in (me + 1, 0):
            with pytest.raises(NotPermitted):
                programs.run(Program(("true",), ENVIRONMENT, uid, 0, 20.0), ())

    as_an_ordinary_user(attempt)


def test_nothing_runs_as_root() -> None:
    with pytest.raises(NotPermitted, match="root"):
        SystemPrograms(Rooted(), "/").run(Program(("true",), ENVIRONMENT, 0, 0, 1.0), ())


def test_a_directory(tmp_path: Path) -> None:
    passable(tmp_path)
    assert run("pwd", directory=str(tmp_path)) == Ran(str(tmp_path).encode() + b"\n")
    ran = run("pwd", directory="/no/such")
    assert (ran.exit, ran.output) == (75, b"")
    assert ran.trouble.startswith('cannot change directory to "/no/such" for uid=')


@needs_root
def test_a_directory_is_entered_as_the_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    ran = run("pwd", directory=str(tmp_path))
    assert ran.exit == 75
    assert "Permission denied" in ran.trouble


@needs_root
def test_a_root_of_its_own(tmp_path: Path) -> None:
    assert "No such file" in run("/bin/cat", chroot=str(tmp_path)).trouble
    assert "cannot change root" in run("/bin/cat", chroot="/no/such").trouble
    assert run("pwd", chroot="/") == Ran(b"/\n")


def test_who_starts_it_is_afterwards_what_he_was(tmp_path: Path) -> None:
    def state() -> object:
        limits = [resource.getrlimit(kind) for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)]
        return os.getresuid(), os.getresgid(), os.getgroups(), os.getcwd(), os.stat("/").st_ino, limits

    passable(tmp_path)
    before = state()
    run("true", directory=str(tmp_path), file_size=1000)
    run("/no/such", file_size=1000)
    run("true", directory="/no/such")
    run("a\0b")
    if ROOT:
        run("/bin/cat", chroot=str(tmp_path))
        run("/bin/cat", chroot="/no/such")
    assert state() == before


@pytest.mark.parametrize("name", ["/no/such", "nosuchprogram", "/etc/passwd"])
def test_what_can_not_be_started(name: str) -> None:
    ran = run(name)
    assert ran.exit == 75
    assert ran.output.startswith(f"local: fatal: execvp {name}: ".encode())
    assert f"local: fatal: {ran.trouble}\n" == ran.output.decode()


def test_a_script_without_an_interpreter(tmp_path: Path) -> None:
    passable(tmp_path)
    script = tmp_path / "script"
    script.write_text('echo "$0 $1"; exit 3\n')
    script.chmod(0o755)
    assert run(str(script), "x") == Ran(f"{script} x\n".encode(), exit=3)


def test_what_no_file_has_the_name_of_is_for_the_shell() -> None:
    assert run("B=2", "env", script="B=2 sh -c 'echo $B'") == Ran(b"2\n")
    assert run("exit", "7", script="exit 7") == Ran(exit=7)
    assert run("nosuchprogram", script="nosuchprogram").exit == 127
    assert run("/no/such", script="/no/such").exit == 75


def test_a_name_with_a_nul_is_no_program() -> None:
    assert run("a\0b").exit == 75


def test_whoever_reads_nothing_is_no_failure() -> None:
    large = b"x" * (1 << 20)
    assert run("true", given=(large, large)) == Ran()
    assert shell("exec <&-; sleep 0.05; exit 7", given=(large,)) == Ran(exit=7)


def test_whoever_talks_before_he_reads_is_heard() -> None:
    large = b"x\n" * (1 << 19)
    ran = shell("head -c 3000 /dev/zero | tr '\\0' y; cat | wc -c", given=(large,))
    assert ran == Ran(b"y" * 3000 + b"1048576\n")


def test_a_flood_of_output() -> None:
    ran = run("yes")
    assert ran.output == b"y\n" * (OUTPUT_LIMIT // 2)
    # It is told by an error that nobody reads on, since the signal is ignored.
    assert ran.exit == 1


def test_one_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    passable(tmp_path)
    tmp_path.chmod(0o777)
    # Long enough for a shell to begin on a machine that does much else.
    ran = shell(f"echo begun; sleep 1000 & echo $! > {tmp_path}/child; wait", limit=3.0)
    assert ran == Ran(b"begun\n", late=True)
    child = int((tmp_path / "child").read_text())
    _ends(child)


def test_one_that_reads_nothing_for_ever_is_killed() -> None:
    assert run("sleep", "1000", given=(b"x" * (1 << 20),), limit=0.3).late


def test_one_that_closes_its_outputs_and_stays_is_killed() -> None:
    assert shell("exec >&- 2>&-; sleep 1000", limit=0.3).late


def test_a_damaged_message_is_never_seen_whole(tmp_path: Path) -> None:
    passable(tmp_path)
    tmp_path.chmod(0o777)

    def pieces() -> Iterator[bytes]:
        yield b"begin\n"
        raise EOFError("damaged")

    with pytest.raises(EOFError):
        shell(f"cat > /dev/null; echo whole > {tmp_path}/seen", given=pieces())  # type: ignore[arg-type]
    assert not (tmp_path / "seen").exists()


def test_a_limit_for_files(tmp_path: Path) -> None:
    passable(tmp_path)
    tmp_path.chmod(0o777)
    ran = shell(f"head -c 100000 /dev/zero > {tmp_path}/file", file_size=1000)
    assert ran.exit or ran.signal
    assert (tmp_path / "file").stat().st_size == 1000
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_no_descriptor_is_left_behind() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        run("true")
        run("/no/such")
    assert len(os.listdir("/proc/self/fd")) <= before


def _ends(pid: int) -> None:
    for _ in range(500):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        time.sleep(0.01)
    raise AssertionError("it lives on")
