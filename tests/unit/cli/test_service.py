"""The commands of postfix(1) in this process; with real processes they are in tests/fault/test_life.py."""

import os
import pwd
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from postwarden.cli import service
from postwarden.cli.unsent import unsent
from postwarden.roles import lock

ME = pwd.getpwuid(os.geteuid()).pw_name
OWNER = "mail" if os.geteuid() == 0 else ME
Run = Callable[..., int]


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "etc"
    directory.mkdir()
    (directory / "main.cf").write_text(
        f"compatibility_level = 3.6\nqueue_directory = {tmp_path}/queue\ndata_directory = {tmp_path}/data\n"
        f"maillog_file = {tmp_path}/maillog\nmail_owner = {OWNER}\nmyhostname = mx.example.com\n"
        "inet_interfaces = 127.0.0.1\n"
    )
    (directory / "master.cf").write_text("smtp inet n - n - - smtpd\n")
    return directory


def add(etc: Path, text: str) -> None:
    with (etc / "main.cf").open("a") as file:
        file.write(text)


def log(etc: Path) -> str:
    path = etc.parent / "maillog"
    return path.read_text() if path.exists() else ""


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(service.os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


@pytest.mark.parametrize("command", ["stop", "abort", "reload", "status"])
def test_nothing_runs_is_said_in_the_log_too(etc: Path, command: str, signals: list[object]) -> None:
    assert service.main(command, [str(etc)]) == 1
    assert "the Postfix mail system is not running" in log(etc)
    assert not signals


@pytest.mark.parametrize("command", ["stop", "status"])
def test_who_may_not_look_is_not_told_that_nothing_runs(
    etc: Path, command: str, signals: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.close(lock.hold(lock.pid_file(str(etc.parent / "queue"))))
    monkeypatch.setattr("os.access", lambda path, mode, **_: mode == os.F_OK)
    assert service.main(command, [str(etc)]) == 1
    assert f"{etc.parent}/queue/pid/master.pid: Permission denied" in log(etc)
    assert "not running" not in log(etc) and not signals


def test_flush_fails_as_postqueue_does(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert service.main("flush", [str(etc)]) == 69
    assert "postqueue: fatal: Cannot flush mail queue - mail system is down" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "number"), [("abort", signal.SIGQUIT), ("reload", signal.SIGHUP)])
def test_a_command_is_a_signal(etc: Path, command: str, number: int, signals: list[object]) -> None:
    held = lock.hold(lock.pid_file(str(etc.parent / "queue")))
    assert service.main(command, [str(etc)]) == 0
    assert signals == [(os.getpid(), number)]
    os.close(held)


def test_status_names_the_process(etc: Path) -> None:
    held = lock.hold(lock.pid_file(str(etc.parent / "queue")))
    assert service.main("status", [str(etc)]) == 0
    assert f"the Postfix mail system is running: PID: {os.getpid()}" in log(etc)
    os.close(held)


@pytest.mark.parametrize("command", ["start", "start-fg"])
def test_all_that_is_wrong_is_named_by_line(etc: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    add(etc, "smtpd_recipient_restrictions = permit_mynetworx\nsmtpd_timeout = soon\n")
    assert service.main(command, [str(etc)]) == 1
    said = capsys.readouterr().err
    assert f"{etc}/main.cf:8: " in said and "permit_mynetworx" in said
    assert f"{etc}/main.cf:9: " in said and "soon" in said
    assert all(line.removeprefix(f"postfix/{service._PROGRAM}: ") in log(etc) for line in said.splitlines())


def test_a_reload_with_a_fault_sends_nothing(etc: Path, signals: list[object]) -> None:
    held = lock.hold(lock.pid_file(str(etc.parent / "queue")))
    add(etc, "smtpd_recipient_restrictions = permit_mynetworx\n")
    assert service.main("reload", [str(etc)]) == 1
    assert not signals
    os.close(held)


def test_a_second_start_is_refused(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = lock.hold(lock.pid_file(str(etc.parent / "queue")))
    for command in ("start", "start-fg"):
        assert service.main(command, [str(etc)]) == 1
        assert "the Postfix mail system is already running" in capsys.readouterr().err
    os.close(held)


def test_another_system_s_data_directory_is_named(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = lock.hold(etc.parent / "data" / "master.lock")
    assert service.main("start-fg", [str(etc)]) == 1
    assert f"{etc.parent}/data/master.lock is locked by process {os.getpid()}" in capsys.readouterr().err
    os.close(held)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_an_owner_that_is_not_there_or_root_is_refused(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for owner, why in (("no-such-user-here", "useradd"), ("root", "this user is root")):
        add(etc, f"mail_owner = {owner}\n")
        assert service.main("start", [str(etc)]) == 1
        said = capsys.readouterr().err
        assert why in said and f"{etc}/main.cf:" in said


def test_start_in_the_background_wants_a_log_that_is_no_terminal(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(etc, "maillog_file = /dev/stdout\n")
    assert service.main("start", [str(etc)]) == 1
    assert "use start-fg" in capsys.readouterr().err


def test_a_queue_that_can_not_be_made_names_the_line(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (etc.parent / "file").write_text("")
    add(etc, f"queue_directory = {etc.parent}/file/queue\n")
    assert service.main("start", [str(etc)]) == 1
    assert f"{etc}/main.cf:8: " in capsys.readouterr().err


def test_a_main_cf_that_can_not_be_read_is_an_exit_code_and_a_line(
    etc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (etc / "main.cf").unlink()
    (etc / "main.cf").mkdir()
    assert service.main("start", [str(etc)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("postfix: fatal: ") and "main.cf" in said


def test_stop_waits_for_the_end_and_uses_force_when_it_does_not_come(
    etc: Path, signals: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = lock.hold(lock.pid_file(str(etc.parent / "queue")))
    now = iter(range(0, 10_000, 10))
    monkeypatch.setattr(service.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(service.time, "sleep", lambda seconds: None)
    assert service.main("stop", [str(etc)]) == 0
    assert signals == [(os.getpid(), signal.SIGTERM), (os.getpid(), signal.SIGQUIT)]
    assert "with force" in log(etc)
    assert log(etc).count("`postfix abort` ends them at once") == 1
    os.close(held)


def test_mail_that_postfix_left_is_told_of_at_start(etc: Path) -> None:
    queue = etc.parent / "queue"
    for name in ("maildrop/0A1B2C3D4E", "deferred/4/4F5E6D7C8B", "deferred/README", "hold/3XyZ2kz1bbcz4Q"):
        (queue / name).parent.mkdir(parents=True, exist_ok=True)
        (queue / name).write_text("")
    assert unsent(str(queue)) == (
        f"{queue} holds 3 unsent messages of Postfix (1 in maildrop, 1 in deferred, 1 in hold), which"
        f" nobody delivers now: postwarden import-queue {queue} takes over what is there"
    )
    shutil.rmtree(queue)
    assert unsent(str(queue)) == ""


@pytest.mark.parametrize("where", ["imported-by-postwarden/moving/deferred/ABC", "postwarden/maildrop/staged-0"])
def test_an_import_that_was_interrupted_is_told_of_at_start(tmp_path: Path, where: str) -> None:
    (tmp_path / "imported-by-postwarden/moving/hold").mkdir(parents=True)
    (tmp_path / "imported-by-postwarden/deferred").mkdir()
    (tmp_path / "imported-by-postwarden/deferred/ABD").touch()
    (tmp_path / "postwarden/maildrop").mkdir(parents=True)
    assert unsent(str(tmp_path)) == ""
    (tmp_path / where).parent.mkdir(exist_ok=True)
    (tmp_path / where).touch()
    assert "was interrupted: run it again" in unsent(str(tmp_path))


def test_a_directory_that_is_not_there_is_a_mistyped_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert service.main("start", [str(tmp_path / "typo")]) == 1
    assert capsys.readouterr().err == f"postfix: fatal: open {tmp_path}/typo/main.cf: No such file or directory\n"


def test_an_option_after_the_command_is_not_passed_over(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert service.main("start", [str(etc), "-c", "/elsewhere"]) == 1
    said = "postfix: fatal: -c comes before the command: postfix [-c config_dir] start\n"
    assert capsys.readouterr().err == said
    assert not log(etc)
