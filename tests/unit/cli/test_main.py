import os
import subprocess
import sys
from pathlib import Path

import pytest

from postwarden.cli import main as module
from postwarden.cli.main import COMMANDS, TOOLS, USAGE, main, options


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, list[str]]]:
    """What would have been run: (module, name, words)."""
    calls: list[tuple[str, str, list[str]]] = []

    def run(name: str, command: str, words: list[str]) -> int:
        calls.append((name, command, words))
        return 7

    monkeypatch.setattr(module, "run", run)
    monkeypatch.delenv("MAIL_CONFIG", raising=False)
    return calls


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", list(words))
    return main()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["postwarden", "start"], ("service", "start", ["/etc/postfix"])),
        (["/usr/sbin/postfix", "-c", "/etc/other", "reload"], ("service", "reload", ["/etc/other"])),
        (["postfix", "-v", "-vD", "-c/etc/other", "status"], ("service", "status", ["/etc/other"])),
        (["postwarden", "compat", "/tmp/bin"], ("compat", "compat", ["/etc/postfix", "/tmp/bin"])),
        (["/usr/sbin/postmap", "-q", "x", "hash:y"], ("postmap", "postmap", ["-q", "x", "hash:y"])),
        (["newaliases"], ("sendmail", "newaliases", [])),
        (["mailq"], ("sendmail", "mailq", [])),
        (["postwarden", "postconf", "-n"], ("postconf", "postconf", ["-n"])),
    ],
)
def test_names_and_words_choose_the_command(
    monkeypatch: pytest.MonkeyPatch, called: list[object], words: list[str], expected: tuple[str, str, list[str]]
) -> None:
    assert call(monkeypatch, *words) == 7
    assert called == [expected]


def test_mail_config_names_the_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_CONFIG", "/etc/postfix-out")
    assert options(["start"]) == ("/etc/postfix-out", ["start"])
    assert options(["-c", "/etc/other", "start"]) == ("/etc/other", ["start"])


def test_a_tool_gets_the_directory_too(monkeypatch: pytest.MonkeyPatch, called: list[object]) -> None:
    monkeypatch.setenv("MAIL_CONFIG", "")
    assert call(monkeypatch, "postwarden", "-c", "/etc/other", "postsuper", "-d", "ALL") == 7
    assert os.environ["MAIL_CONFIG"] == "/etc/other"


def test_an_unknown_command_is_refused_in_postfixs_words(
    monkeypatch: pytest.MonkeyPatch, called: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "postfix", "strat") == 1
    assert not called
    said = capsys.readouterr().err
    assert said.startswith("postfix/postfix-script: fatal: unknown command: 'strat'. Usage: postfix start (or ")


def test_an_unknown_option_is_refused(
    monkeypatch: pytest.MonkeyPatch, called: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, "postwarden", "-x", "start")
    assert ended.value.code == 1 and not called
    assert "unknown option -x" in capsys.readouterr().err


def test_help_is_an_answer_and_nothing_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, code in ((["--help"], 0), (["help"], 0), ([], 1)):
        assert call(monkeypatch, "postwarden", *words) == code
        said = capsys.readouterr()
        assert (said.out or said.err) == USAGE and bool(said.out) is (code == 0)


def test_every_command_is_explained_and_has_a_module() -> None:
    for command in COMMANDS:
        assert f" {command} " in USAGE
    for name in {*COMMANDS.values(), *TOOLS.values()}:
        assert (Path(module.__file__).parent / f"{name}.py").exists()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_files_that_the_caller_has_closed(tmp_path: Path, closed: str) -> None:
    """The log must not become standard error."""
    program = Path(sys.executable).parent / "postwarden"
    (tmp_path / "main.cf").write_text(f"maillog_file = {tmp_path}/log\n")
    (tmp_path / "log").write_text("before\n")
    done = subprocess.run(
        ["/bin/sh", "-c", f"MAIL_CONFIG='{tmp_path}' '{program}' postlog -p warn hello {closed}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len((tmp_path / "log").read_text().splitlines()) == 2
    done = subprocess.run(
        ["/bin/sh", "-c", f"'{program}' sendmail -C '{tmp_path}/none' you {closed}"], capture_output=True, timeout=60
    )
    assert done.returncode == 75


def test_a_pipe_that_closes_is_no_traceback(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "postwarden"
    done = subprocess.run(
        ["/bin/sh", "-c", f"'{program}' postconf -c '{tmp_path}' -d | head -1"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.count("\n") == 1 and "Traceback" not in done.stderr
