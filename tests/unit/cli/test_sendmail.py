"""The command in this process, with a socket that answers, or with none; against the real one: tests/interop."""

import contextlib
import os
import pwd
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postwarden.cli import handing_in, sendmail
from postwarden.ipc.submit_client import Down, submit
from postwarden.mail.envelope import Recipient
from postwarden.spool.maildrop import maildrop_directory, make_maildrop
from postwarden.wire.submission import Answer, End, Malformed, Reader, Submission

ME = pwd.getpwuid(os.getuid()).pw_name
UID = os.getuid()


class Setting:
    """A configuration, and a mail system that takes what it is given."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.queue = base / "queue"
        (self.queue / "postwarden").mkdir(parents=True)
        make_maildrop(maildrop_directory(str(self.queue)))
        self.log = base / "log"
        self.configure()
        self.answer: Answer | Exception = Answer("accepted", "", "Q")
        self.submissions: list[Submission] = []
        self.contents: list[bytes] = []

    def configure(self, **parameters: str) -> None:
        values = {"compatibility_level": "3.6", "queue_directory": str(self.queue), "maillog_file": str(self.log)}
        text = "".join(f"{name} = {value}\n" for name, value in (values | parameters).items())
        (self.base / "main.cf").write_text(text)

    def submit(self, queue: str, parts: Iterator[bytes]) -> Answer:
        assert queue == str(self.queue)
        if isinstance(self.answer, Exception):
            raise self.answer
        reader = Reader()
        events = [event for part in parts for event in reader.feed(part)]
        assert isinstance(events[0], Submission)
        assert events[-1] == End()
        self.submissions.append(events[0])
        self.contents.append(b"".join(event for event in events if isinstance(event, bytes)))
        return self.answer


class Input:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd


Run = Callable[..., int]


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    setting = Setting(tmp_path)
    monkeypatch.setattr(handing_in, "submit", setting.submit)
    monkeypatch.setenv("MAIL_CONFIG", str(tmp_path))
    monkeypatch.delenv("NAME", raising=False)
    return setting


@pytest.fixture
def run(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*words: str, data: bytes = b"Subject: x\n\nbody\n", name: str = "sendmail") -> int:
        with (setting.base / "stdin").open("wb+") as file:
            file.write(data)
            file.flush()
            file.seek(0)
            monkeypatch.setattr(sys, "stdin", Input(file.fileno()))
            return sendmail.main(name, list(words))

    return run


def test_a_message(setting: Setting, run: Run) -> None:
    assert run("-f", "me@example.com", "-F", "Me", "-N", "never", "-R", "full", "-V", "a=b c", "A <a@x>, b") == 0
    to = (Recipient("a@x", notify=1), Recipient("b", notify=1))
    assert setting.submissions == [Submission("me@example.com", to, "Me", ret="FULL", envid="a+3Db+20c")]
    assert setting.contents == [b"Subject: x\n\nbody\n"]


def test_who_says_nothing_is_himself(setting: Setting, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "My\nName")
    assert run("you") == 0
    assert setting.submissions == [Submission(ME, (Recipient("you"),), "My Name")]


@pytest.mark.parametrize(
    ("given", "sender"), [("", ""), ("<>", ""), ("Foo <foo@bar>", "foo@bar"), ('"x y"@foo', "x y@foo")]
)
def test_senders(setting: Setting, run: Run, given: str, sender: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-f", given, "you") == 0
    assert setting.submissions[0].sender == sender
    assert capsys.readouterr().err == ""


def test_a_sender_that_is_several(setting: Setting, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-f", "a\nb", "you") == 0
    assert setting.submissions[0].sender == "a"
    assert capsys.readouterr().err == "sendmail: warning: -f option specified malformed sender: a?b\n"


def test_recipients_from_the_header_are_added(setting: Setting, run: Run) -> None:
    assert run("-t", "c@x", data=b"To: a@x\nBcc: b@x\n\nTo: no@x\n") == 0
    assert [one.address for one in setting.submissions[0].recipients] == ["c@x", "a@x", "b@x"]
    assert setting.contents == [b"To: a@x\nBcc: b@x\n\nTo: no@x\n"]


@pytest.mark.parametrize("word", ["", "<>", "(comment)", "g:;"])
def test_a_word_that_is_nobody_is_the_null_address(setting: Setting, run: Run, word: str) -> None:
    assert run(word) == 0
    assert setting.submissions[0].recipients == (Recipient(""),)


@pytest.mark.parametrize(("word", "trace"), [("-v", "record"), ("-bv", "verify")])
def test_who_does_not_hear_that_it_is_announced_need_not_send_again(
    setting: Setting, run: Run, word: str, trace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run(word, "-f", "me@x", "a@x") == 0
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
    assert setting.submissions[0].trace == trace


def test_a_bug_is_no_refusal(setting: Setting, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    setting.answer = ZeroDivisionError("x")
    assert run("you") == 75
    assert "fatal: internal error: " in capsys.readouterr().err
    assert "ZeroDivisionError" in setting.log.read_text()


@pytest.mark.parametrize(("word", "trace"), [("-v", "record"), ("-bv", "verify")])
def test_a_report_is_announced(
    setting: Setting, run: Run, word: str, trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(word, "-f", "me@x", "a@x", "b@x") == 0
    assert setting.submissions[0].trace == trace
    assert capsys.readouterr().out == "Mail Delivery Status Report will be mailed to <me@x>.\n"
    if trace == "verify":
        assert setting.contents == [b"From: me@x\nSubject: probe\nTo:\ta@x,\n\tb@x\n\n"]


def test_verp(setting: Setting, run: Run) -> None:
    assert run("-XV", "you") == 0
    assert run("-XV-=", "you") == 0
    assert [one.verp for one in setting.submissions] == ["+=", "-="]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], f"{ME}({UID}): Recipient addresses must be specified on the command line or via the -t option"),
        (["-t"], f"{ME}({UID}): No recipient addresses found in message header"),
        (["-XVab", "you"], "-V requires two characters from -=+"),
        (["-XV", "-f", "", "you"], f"({UID}): -V option requires non-null sender address"),
        (["-bp", "x"], "display queue mode requires no recipient"),
        (["-bs", "x"], "stand-alone mode requires no recipient"),
        (["-bi", "x"], "alias initialization mode requires no recipient"),
        (["-bd", "x"], "daemon mode requires no recipient"),
        (["-q", "x"], "flush queue mode requires no recipient"),
        (["-qRa", "x"], "flush site requires no recipient"),
        (["-qIa", "x"], "flush queue_id requires no recipient"),
        (["-bz"], "unsupported: -bz"),
        (["-C", "/nonexistent", "x"], "open /nonexistent/main.cf: No such file or directory"),
        (["\udcff@x"], f"{ME}({UID}): address or name is not UTF-8"),
    ],
)
def test_a_failure_is_75_and_is_logged(
    setting: Setting, run: Run, words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 75
    assert capsys.readouterr().err == f"sendmail: fatal: {why}\n"
    assert setting.submissions == []
    if "-C" not in words:
        assert f"postfix/sendmail[{os.getpid()}]: fatal: {why}\n" in setting.log.read_text()


def test_misuse(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-Z") == 75
    assert capsys.readouterr().err == ("sendmail: invalid option -- 'Z'\nsendmail: fatal: usage: sendmail [options]\n")


@pytest.mark.parametrize("words", [["-bh"], ["-bH"], ["-q15m"]])
def test_what_postfix_does_not_have_succeeds(setting: Setting, run: Run, words: list[str]) -> None:
    assert run(*words) == 0
    assert setting.submissions == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (Answer("denied", "User joe(1000) is not allowed"), "User joe(1000) is not allowed"),
        (Answer("refused", "not authorized to use sender='x'"), f"{ME}({UID}): not authorized to use sender='x'"),
        (Answer("later", "queue file write error"), f"{ME}({UID}): queue file write error"),
        (Malformed("too many recipients"), f"{ME}({UID}): too many recipients"),
    ],
)  # fmt: skip
def test_what_the_mail_system_does_not_want(
    setting: Setting, run: Run, said: Answer | Exception, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    setting.answer = said
    assert run("you") == 75
    assert capsys.readouterr().err == f"sendmail: fatal: {why}\n"
    assert not os.listdir(maildrop_directory(str(setting.queue)))


def test_too_big(setting: Setting, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    setting.configure(message_size_limit="100")
    assert run("you", data=b"x" * 101) == 75
    assert capsys.readouterr().err == f"sendmail: fatal: {ME}({UID}): message file too big\n"


def dropped(setting: Setting) -> list[tuple[Submission, bytes]]:
    found = []
    directory = Path(maildrop_directory(str(setting.queue)))
    for path in directory.iterdir():
        events = list(Reader().feed(path.read_bytes()))
        assert isinstance(events[0], Submission)
        found.append((events[0], b"".join(event for event in events if isinstance(event, bytes))))
    return found


@pytest.mark.parametrize("unsure", [False, True])
def test_while_it_is_down_the_message_is_left(setting: Setting, run: Run, unsure: bool) -> None:
    setting.answer = Down("nobody", unsure=unsure)
    assert run("-f", "me@x", "-F", "", "you", data=b"a: b\r\n\r\nx") == 0
    assert dropped(setting) == [(Submission("me@x", (Recipient("you"),)), b"a: b\n\nx")]


def test_while_it_is_down_the_lists_are_asked_here(
    setting: Setting, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    setting.answer = Down("nobody")
    setting.configure(authorized_submit_users=f"!{ME}, static:all")
    assert run("you") == 75
    assert capsys.readouterr().err == f"sendmail: fatal: User {ME}({UID}) is not allowed to submit mail\n"
    setting.configure(local_login_sender_maps=f"inline:{{{ME}=me}}")
    assert run("-f", "other", "you") == 75
    assert "other(" in capsys.readouterr().err
    assert run("-f", "me", "you") == 0
    assert len(dropped(setting)) == 1


def test_a_full_disk_is_no_success(
    setting: Setting, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setting.answer = Down("nobody")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert run("you") == 75
    assert capsys.readouterr().err.endswith(f"sendmail: fatal: {ME}({UID}): queue file write error\n")
    assert not os.listdir(maildrop_directory(str(setting.queue)))


def test_where_no_mail_system_was_ever_started(setting: Setting, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    setting.answer = Down("nobody")
    Path(maildrop_directory(str(setting.queue))).rmdir()
    assert run("you") == 75
    assert "has never been started" in capsys.readouterr().err


def test_mailq_lists_the_queue(run: Run, monkeypatch: pytest.MonkeyPatch, setting: Setting) -> None:
    said: list[tuple[str, ...]] = []

    def other(*words: object) -> int:
        said.append(tuple(map(str, words)))
        return 69

    monkeypatch.setattr(sendmail, "_other", other)
    assert run(name="mailq") == 69
    assert run("-q", name="mailq") == 69
    assert run("-bp", "-qIABC", name="sendmail") == 75
    assert run("-qRx.example") == 69
    assert run("-bi") == 69
    assert run("-oA/x", "-I") == 69
    assert run("-bd") == 69
    directory = str(setting.base)
    assert said == [
        ("postqueue", "postqueue", str(["-c", directory, "-p"])),
        ("postqueue", "postqueue", str(["-c", directory, "-f"])),
        ("postqueue", "postqueue", str(["-c", directory, "-s", "x.example"])),
        ("postalias", "newaliases", str([directory])),
        ("postalias", "postalias", str(["-c", directory, "/x"])),
        ("service", "start", str([directory])),
    ]


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(Down):
        submit(str(tmp_path), [])
