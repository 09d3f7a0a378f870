"""The command: how it is called, what it prints, its exit code. What it finds is tested in the folder `checking`."""

import json
import os
from pathlib import Path

import pytest
from tests.ports import free_port

from postwarden.cli import check

SOUND = """\
compatibility_level = 3.6
myhostname = mx.example.com
mydestination = $myhostname, example.com
mynetworks = 127.0.0.0/8 [::1]/128
alias_maps = hash:{base}/aliases
queue_directory = {base}/queue
data_directory = {base}/data
mail_owner = mail
"""
MASTER = f"{free_port()} inet n - n - - smtpd\n" + "".join(
    f"{name} unix - n n - - {command}\n"
    for name, command in (
        ("smtp", "smtp"), ("relay", "smtp"), ("local", "local"), ("virtual", "virtual"), ("error", "error"),
        ("retry", "error"),
    )
)  # fmt: skip


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    directory = tmp_path / "etc"
    directory.mkdir(mode=0o755)
    (tmp_path / "aliases").write_text("root: alice\n")
    (directory / "main.cf").write_text(SOUND.format(base=tmp_path))
    (directory / "master.cf").write_text(MASTER)
    return directory


def add(etc: Path, text: str) -> None:
    with (etc / "main.cf").open("a") as file:
        file.write(text)


def run(etc: Path, *words: str) -> int:
    return check.main("check", [str(etc), "-n", *words])


def test_nothing_is_said_of_a_sound_configuration(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(etc) == 0
    assert capsys.readouterr() == ("", "")


def test_a_finding_is_one_line_with_what_why_and_what_to_do(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(etc, "default_transport = error\n")
    assert run(etc) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{etc}/main.cf:9: error: default_transport = error; mail to every domain")
    assert line.count("; ") >= 2 and "remove the line (the default is smtp)" in line


def test_json(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(etc, "default_transport = error\nsmtpd_timout = 3\n")
    assert run(etc, "-j") == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["file"], first["line"], first["severity"]) == (f"{etc}/main.cf", 9, "error")
    assert first["what"] == "default_transport = error" and first["why"] and first["cure"]
    assert second["severity"] == "warning" and second["cure"] == "did you mean smtpd_timeout?"


def test_warnings_alone_do_not_make_it_fail(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(etc, "smtpd_timout = 3\n")
    assert run(etc) == 0
    assert "main.cf:9: warning: unused parameter: smtpd_timout=3" in capsys.readouterr().out


def test_everything_wrong_is_named_by_line(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(etc, "smtpd_recipient_restrictions = permit_mynetworx\nsmtpd_timeout = soon\n")
    assert run(etc) == 1
    said = capsys.readouterr().out
    assert "main.cf:9: error: " in said and "permit_mynetworx" in said
    assert "main.cf:10: error: " in said and "soon" in said


def test_a_line_that_is_none_ends_it_with_its_number(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(etc, "this is no setting\n")
    assert run(etc) == 1
    assert 'main.cf:9: error: missing "="' in capsys.readouterr().out


def test_an_unreadable_main_cf(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (etc / "main.cf").unlink()
    (etc / "main.cf").mkdir()
    assert run(etc) == 1
    assert capsys.readouterr().out.startswith(f"{etc}/main.cf: error: can't be read: ")


def test_a_directory_that_is_not_there_is_a_mistyped_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "typo") == 1
    assert capsys.readouterr().err == f"postfix: fatal: open {tmp_path}/typo/main.cf: No such file or directory\n"


@pytest.mark.parametrize("words", [("-x",), ("more",)])
def test_what_it_is_not_called_with(etc: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(etc, *words) == 1
    assert "usage: postwarden" in capsys.readouterr().err


def test_control_characters_do_not_reach_the_terminal(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(etc, "nosuch = \x1b[2J\n")
    run(etc)
    assert "\x1b" not in capsys.readouterr().out


def test_nothing_is_written(etc: Path) -> None:
    before = sorted(os.listdir(etc.parent))
    run(etc)
    assert sorted(os.listdir(etc.parent)) == before


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--replay", "--help"]])
def test_help_is_no_mistake(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert check.main("check", ["/nonexistent", *words]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("usage: ") and said.err == ""
