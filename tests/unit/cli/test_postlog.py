import io
import os
import re
import sys
import time
from pathlib import Path

import pytest

from postwarden.cli import postlog


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "main.cf").write_text(
        f"myhostname = mx.example.com\nmaillog_file = {tmp_path}/log\nqueue_directory = {tmp_path}\n"
    )
    monkeypatch.setenv("MAIL_CONFIG", str(tmp_path))
    return tmp_path / "log"


def lines(log: Path) -> list[str]:
    found = re.findall(rf" mx (.*)\[{os.getpid()}\](.*)", log.read_text())
    return [before + after for before, after in found]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("hello world", "postfix/postlog: hello world"),
        ("-i -v hello", "postfix/postlog: hello"),
        ("-p warn -t mytag x", "mytag: warning: x"),
        ("-p warning x", "postfix/postlog: warning: x"),
        ("-p error x", "postfix/postlog: error: x"),
        ("-p info -t postfix/foo a\tb\1c", "postfix/foo: a?b?c"),
        ("-- -p", "postfix/postlog: -p"),
        ("-t a\nb/c x", "a?b/c: x"),
    ],
)
def test_a_line(log: Path, words: str, line: str) -> None:
    assert postlog.main("postlog", words.split(" ")) == 0
    assert lines(log) == [line]


@pytest.mark.parametrize("level", ["fatal", "panic"])
def test_the_worst_is_followed_by_a_pause(log: Path, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    assert postlog.main("postlog", ["-p", level, "x"]) == 0
    assert lines(log) == [f"postfix/postlog: {level}: x"]
    assert pauses == [1.0]


def test_each_line_of_standard_input(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\nt\xffwo"), "utf-8"))
    assert postlog.main("postlog", []) == 0
    assert lines(log) == ["postfix/postlog: one", "postfix/postlog: t?wo"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["-p", "bogus", "x"], 'bad severity: "bogus"'),
        (["-c", "/nonexistent", "x"], "open /nonexistent/main.cf: No such file or directory"),
        (["-Z"], "usage: postlog [-c config_dir] [-i] [-p priority] [-t tag] [-v] [text]"),
    ],
)
def test_what_can_not_be_logged(log: Path, words: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert postlog.main("postlog", words) == 1
    assert capsys.readouterr().err.endswith(f"postfix/postlog: fatal: {why}\n")


def test_a_log_that_can_not_be_written(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.mkdir()
    assert postlog.main("postlog", ["x"]) == 1
    assert str(log) in capsys.readouterr().err
