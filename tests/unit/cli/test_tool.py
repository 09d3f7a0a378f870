"""What the queue's commands have alike."""

import getopt
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.cli.tool import Misuse, Refusal, Voice, configuration, may_open_directly, options
from postwarden.config.settings import load
from postwarden.mail.events import Notice, Warn

LETTERS = "c:d:fH:v"
WORDS = st.lists(st.one_of(st.text(max_size=4), st.text("-cdfHvx:", max_size=4)), max_size=6)


@given(WORDS)
def test_options_are_those_of_getopt(words: list[str]) -> None:
    rest = list(words)
    try:
        found = list(options(rest, LETTERS))
    except Misuse:
        with pytest.raises(getopt.GetoptError):
            getopt.getopt(words, LETTERS)
        return
    pairs, left = getopt.getopt(words, LETTERS)
    assert (found, rest) == ([(option[1:], value) for option, value in pairs], left)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-x"], "invalid option -- 'x'"),
        (["-f-"], "invalid option -- '-'"),
        (["-c"], "option requires an argument -- 'c'"),
    ],
)
def test_misuse_is_told_as_getopt_tells_it(words: list[str], text: str) -> None:
    with pytest.raises(Misuse, match=text):
        list(options(words, LETTERS))


@given(st.text(string.printable + "ä\x80\udc80"))
def test_nothing_forges_a_line(text: str) -> None:
    assert "\n" not in str(Notice(text))


def test_the_log_gets_what_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "main.cf").write_text(f"maillog_file = {tmp_path}/log\nsyslog_name = out\n")
    voice = Voice("postsuper")
    voice.say(Notice("before it is open"))
    voice.open(configuration(str(tmp_path)))
    voice.say(Warn("a\nb"))
    voice.emit("pickup", Notice("in the log alone"))
    voice.print("on the terminal alone")
    said = capsys.readouterr().err.splitlines()
    assert said == ["postsuper: before it is open", "postsuper: warning: a?b", "postsuper: on the terminal alone"]
    logged = [line.split(": ", 1) for line in (tmp_path / "log").read_text().splitlines()]
    assert [text for _, text in logged] == ["warning: a?b", "in the log alone"]
    assert " out/postsuper[" in logged[0][0] and " out/pickup[" in logged[1][0]


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "main.cf").write_text(f"maillog_file = {tmp_path}/none/log\n")
    voice = Voice("postqueue")
    voice.open(load(tmp_path))
    voice.say(Notice("said"))
    assert capsys.readouterr().err == "postqueue: said\n"


def test_a_named_directory_must_have_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal, match=r"main\.cf: No such file or directory"):
        configuration(str(tmp_path))
    monkeypatch.setenv("MAIL_CONFIG", str(tmp_path))
    with pytest.raises(Refusal):
        configuration("")


def test_the_files_are_for_their_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}\n")
    settings = load(tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 54321)
    assert not may_open_directly(settings)
    (tmp_path / "postwarden").mkdir()
    assert not may_open_directly(settings)
    monkeypatch.setattr("os.geteuid", lambda: (tmp_path / "postwarden").stat().st_uid)
    assert may_open_directly(settings)
