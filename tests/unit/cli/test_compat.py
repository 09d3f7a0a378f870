import os
import sys
from pathlib import Path

import pytest

from postwarden.cli.compat import NAMES, main


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "venv" / "postwarden"
    monkeypatch.setattr(sys, "argv", [str(path), "compat"])
    return path


def test_links_are_made_in_a_directory_that_is_made_and_again(tmp_path: Path, program: Path) -> None:
    directory = tmp_path / "a" / "bin"
    for _ in range(2):
        assert main("compat", ["/etc/postfix", str(directory)]) == 0
        assert sorted(os.listdir(directory)) == sorted(NAMES)
        assert all((directory / name).readlink() == program for name in NAMES)


def test_links_are_renewed_by_one_of_them(tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program.parent.mkdir()
    program.write_text("#!python\n")
    assert main("compat", ["/etc/postfix", str(tmp_path)]) == 0
    for name in ("postfix", "postwarden"):
        monkeypatch.setattr(sys, "argv", [str(tmp_path / name), "compat"])
        assert main("compat", ["/etc/postfix", str(tmp_path)]) == 0
        assert all((tmp_path / name).readlink() == program for name in NAMES)


def test_the_program_s_own_directory_is_fit(tmp_path: Path, program: Path) -> None:
    program.parent.mkdir()
    program.write_text("#!python\n")
    assert main("compat", ["/etc/postfix", str(program.parent)]) == 0
    assert program.read_text() == "#!python\n" and (program.parent / "mailq").readlink() == program


def test_the_real_postfix_is_left_alone(tmp_path: Path, program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "postmap").write_text("the real one")
    assert main("compat", ["/etc/postfix", str(tmp_path)]) == 1
    assert f"{tmp_path}/postmap exists and is no link" in capsys.readouterr().err
    assert (tmp_path / "postmap").read_text() == "the real one"


def test_a_place_that_can_not_be_is_said(tmp_path: Path, program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main("compat", ["/etc/postfix", str(tmp_path / "file" / "bin")]) == 1
    assert "fatal: " in capsys.readouterr().err


@pytest.mark.parametrize("words", [["/etc/postfix"], ["/etc/postfix", "a", "b"]])
def test_one_directory_is_wanted(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main("compat", words) == 1
    assert "usage: " in capsys.readouterr().err
