import os
from pathlib import Path

import pytest

from postwarden.cli.sendmail import EX_TEMPFAIL, main


def prepared(tmp_path: Path) -> Path:
    etc = tmp_path / "etc"
    etc.mkdir()
    (tmp_path / "aliases").write_text("root: alice\n")
    (etc / "main.cf").write_text(f"alias_database = hash:{tmp_path}/aliases\n")
    return etc


def test_another_configuration_by_option_and_by_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    etc = prepared(tmp_path)
    assert main("newaliases", ["-C", str(etc)]) == 0
    assert (tmp_path / "aliases.lmdb").exists()
    os.unlink(tmp_path / "aliases.lmdb")
    monkeypatch.setenv("MAIL_CONFIG", str(etc))
    assert main("newaliases", []) == 0
    assert (tmp_path / "aliases.lmdb").exists()


@pytest.mark.parametrize("words", [["--help"], ["-c", "DIR"], ["file"], ["-Z"]])
def test_what_it_does_not_know_is_refused_before_a_file_is_touched(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAIL_CONFIG", str(prepared(tmp_path)))
    assert main("newaliases", words) == EX_TEMPFAIL
    assert capsys.readouterr().err.startswith("newaliases: ")
    assert not (tmp_path / "aliases.lmdb").exists()
