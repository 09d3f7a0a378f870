import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from postwarden.cli import handing_in, sendmail_smtp
from postwarden.cli.sendmail_smtp import PipeStream, PollClock
from postwarden.ipc.submit_client import Down
from postwarden.testing.stream import Recorder
from postwarden.wire.submission import Answer, Reader, Submission

HELLO = "220 mx.example.com ESMTP Postfix"
MAIL = b"HELO me\nMAIL FROM:<me>\nRCPT TO:<a@x.example>\nDATA\nSubject: lf\n\nbody\n.\n"


class Setting:
    def __init__(self, base: Path) -> None:
        self.base = base
        self.answer = Answer("accepted")
        self.taken: list[tuple[Submission, bytes]] = []
        (base / "main.cf").write_text(
            f"compatibility_level = 3.6\nmyhostname = mx.example.com\nmaillog_file = {base}/log\n"
            f"queue_directory = {base}/queue\nsmtpd_error_sleep_time = 0\nsmtpd_tls_security_level = may\n"
            "smtpd_tls_cert_file = /nonexistent\nsmtpd_recipient_restrictions = reject\n"
        )

    def submit(self, _: str, parts: Iterator[bytes]) -> Answer:
        reader = Reader()
        events = [event for part in parts for event in reader.feed(part)]
        assert isinstance(events[0], Submission)
        self.taken.append((events[0], b"".join(event for event in events if isinstance(event, bytes))))
        return self.answer

    def talk(self, data: bytes) -> list[str]:
        """Replies, of a file as standard input."""
        (self.base / "in").write_bytes(data)
        saved = os.dup(0), os.dup(1)
        source, out = os.open(self.base / "in", os.O_RDONLY), os.open(self.base / "out", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.dup2(source, 0)
            os.dup2(out, 1)
            assert sendmail_smtp.main("sendmail", [str(self.base)]) == 0
        finally:
            for to, fd in enumerate(saved):
                os.dup2(fd, to)
            for fd in (*saved, source, out):
                os.close(fd)
        return (self.base / "out").read_text().split("\n")[:-1]

    @property
    def log(self) -> list[str]:
        return re.findall(r"postfix/(.*)", re.sub(r"\[\d+\]: ", ": ", (self.base / "log").read_text()))


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    setting = Setting(tmp_path)
    monkeypatch.setattr(handing_in, "submit", setting.submit)
    return setting


def test_a_message_by_lines_that_end_in_lf(setting: Setting) -> None:
    said = [line.rstrip("\r") for line in setting.talk(MAIL + b"QUIT\n")]
    assert said[:5] == [HELLO, "250 mx.example.com", "250 2.1.0 Ok", "250 2.1.5 Ok",
                        "354 End data with <CR><LF>.<CR><LF>"]  # fmt: skip
    assert said[5].startswith("250 2.0.0 Ok: queued as ")
    assert said[6:] == ["221 2.0.0 Bye"]
    ((submission, content),) = setting.taken
    assert (submission.sender, submission.recipients[0].address) == ("me", "a@x.example")
    assert content.startswith(
        b"Received: from me (localhost [127.0.0.1])\r\n\tby mx.example.com (Postfix) with SMTP id "
    )
    assert content.endswith(b"\r\nSubject: lf\r\n\r\nbody\r\n")
    assert setting.log[0] == "smtpd: connect from localhost[127.0.0.1]"
    assert (
        setting.log[-1] == "smtpd: disconnect from localhost[127.0.0.1] helo=1 mail=1 rcpt=1 data=1 quit=1 commands=5"
    )


def test_what_was_written_ahead_is_no_fault(setting: Setting) -> None:
    setting.talk(b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@x>\r\nQUIT\r\n")
    assert not [line for line in setting.log if "pipelining" in line]


def test_dsn_goes_along(setting: Setting) -> None:
    setting.talk(
        b"EHLO me\r\nMAIL FROM:<me@x> RET=HDRS ENVID=abc\r\nRCPT TO:<a@x> NOTIFY=SUCCESS ORCPT=rfc822;b@x\r\n"
        b"RCPT TO:<c+d>\r\nBDAT 3 LAST\r\nabcQUIT\r\n"
    )
    submission = setting.taken[0][0]
    assert (submission.ret, submission.envid) == ("HDRS", "abc")
    assert (submission.recipients[0].notify, submission.recipients[0].orcpt) == (2, "rfc822;b@x")
    assert submission.recipients[1].orcpt == "rfc822;c+2Bd", "what was said, before it gets a domain"


def test_whoever_reads_slowly_hears_all() -> None:
    """The other end of standard output may be somebody's pipe that does not block."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    heard: list[bytes] = []

    def hear() -> None:
        while data := os.read(reader, 4096):
            heard.append(data)

    stream = PipeStream(Recorder(), writer)
    thread = threading.Timer(0.05, hear)
    thread.start()
    stream.write(b"x" * 200_000)
    os.close(writer)
    thread.join(60)
    os.close(reader)
    assert stream.open
    assert len(b"".join(heard)) == 200_000


def test_input_that_ends(setting: Setting) -> None:
    assert setting.talk(b"")[0].rstrip("\r") == HELLO
    assert setting.log == [
        "smtpd: connect from localhost[127.0.0.1]",
        "smtpd: lost connection after CONNECT from localhost[127.0.0.1]",
        "smtpd: disconnect from localhost[127.0.0.1] commands=0/0",
    ]
    setting.talk(MAIL[:-2])
    assert setting.taken == []


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (Answer("denied", "User joe(5) is not allowed"), "550 5.7.1 Error: User joe(5) is not allowed"),
        (Answer("later", "queue file write error"), "451 4.3.0 Error: queue file write error"),
    ],
)
def test_what_is_not_taken_is_not_answered_with_250(setting: Setting, answer: Answer, reply: str) -> None:
    setting.answer = answer
    assert setting.talk(MAIL)[5].rstrip("\r") == reply


def test_no_mail_system_at_all(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object) -> Answer:
        raise Down("nobody")

    monkeypatch.setattr(handing_in, "submit", down)
    assert setting.talk(MAIL)[5].startswith("451 4.3.0 Error: ")


def test_what_has_no_place_here(setting: Setting) -> None:
    said = setting.talk(b"HELO x\r\nSTARTTLS\r\nXCLIENT x\r\nETRN foo.example\r\nQUIT\r\n")
    assert [line[:3] for line in said] == ["220", "250", "502", "550", "458", "221"]


def test_errors_are_slowed_down_and_then_over(setting: Setting) -> None:
    with (setting.base / "main.cf").open("a") as main_cf:
        main_cf.write("smtpd_soft_error_limit = 1\nsmtpd_hard_error_limit = 3\nsmtpd_junk_command_limit = 1\n")
    said = [line.rstrip("\r") for line in setting.talk(b"FOO\r\n" * 10)]
    assert said[-1] == "421 4.7.0 mx.example.com Error: too many errors"
    assert len(said) == 5


def test_a_clock_without_a_loop() -> None:
    clock, said = PollClock(), []
    clock.call_later(0.0, lambda: said.append("a"))
    later = clock.call_later(60.0, lambda: said.append("never"))
    clock.call_soon(lambda: said.append("b"))
    left = clock.run()
    assert said == ["a", "b"]
    assert left is not None
    assert 50 < left <= 60
    later.cancel()
    assert clock.run() is None
    assert said == ["a", "b"]
