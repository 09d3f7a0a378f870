"""Without a mail system; that no line is lost beside one is in tests/fault."""

import gzip
import os
from pathlib import Path

import pytest

from postwarden.cli import logrotate


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    configure(tmp_path)
    (tmp_path / "log").write_text("a line\n")
    return tmp_path


def configure(base: Path, **parameters: str) -> None:
    values = {"maillog_file": f"{base}/log", "queue_directory": f"{base}/queue", "maillog_file_rotate_suffix": "%Y"}
    text = "".join(f"{name} = {value}\n" for name, value in (values | parameters).items())
    (base / "main.cf").write_text(text)


def rotate(etc: Path, *words: str) -> int:
    return logrotate.main("logrotate", [str(etc), *words])


def test_the_log_gets_a_date_and_is_compressed(etc: Path) -> None:
    assert rotate(etc) == 0
    (found,) = etc.glob("log.*")
    assert len(found.name) == len("log.2026.gz")
    assert gzip.decompress(found.read_bytes()) == b"a line\n"
    assert not (etc / "log").exists()


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"maillog_file": ""}, "empty 'maillog_file' parameter value - logfile rotation failed"),
        ({"maillog_file_compressor": ""}, "empty 'maillog_file_compressor' parameter value - logfile rotation failed"),
        ({"maillog_file": "/dev/null"}, "not rotating '/dev/null'"),
        ({"maillog_file_compressor": "/nonexistent"}, "rotation failed: "),
        ({"maillog_file_compressor": "false"}, "rotation failed: exit status 1"),
        ({"maillog_file_compressor": "ls /nonexistent"}, "rotation failed: ls: cannot access"),
        ({"maillog_file_rotate_suffix": "x/y"}, "rotation failed: "),
    ],
)
def test_what_does_not_work(
    etc: Path, parameters: dict[str, str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(etc, **parameters)
    assert rotate(etc) == 1
    assert why in capsys.readouterr().err


def test_no_log_and_no_arguments(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rotate(etc, "x") == 1
    assert "postfix/postfix-script: fatal: usage postfix logrotate (no arguments)" in capsys.readouterr().err
    configure(etc, maillog_file=f"{etc}/none/log")
    assert rotate(etc) == 1


def test_what_an_earlier_rotation_left_is_not_overwritten(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(etc, maillog_file_compressor="false")
    assert rotate(etc) == 1
    (left,) = etc.glob("log.*")
    (etc / "log").write_text("another line\n")
    configure(etc)
    assert rotate(etc) == 1
    assert f"rotation failed: {left} exists" in capsys.readouterr().err
    assert left.read_text() == "a line\n"
    assert (etc / "log").read_text().startswith("another line\n")


def test_a_file_that_is_still_written_is_not_compressed(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logrotate, "_PATIENCE", 0.0)
    monkeypatch.setattr(os, "getpid", lambda: 0)
    with (etc / "log").open("a"), pytest.raises(OSError, match="is still written by process"):
        logrotate._await_release(str(etc / "log"))
    with (etc / "log").open("r"):
        logrotate._await_release(str(etc / "log"))
