"""sendmail, postlog and `sendmail -bs` beside real Postfix's: the same exit codes, texts, log lines and messages."""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import PROGRAM, Gateway, Sink, until

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]

BODY = b"Subject: x\n\nbody\n"
# `@T` is a recipient of the case's own.
MESSAGES: tuple[tuple[tuple[str, ...], bytes], ...] = (
    (("a@T",), BODY),
    (("-f", "me@sink.example", "a@T, Foo <b@T>", "c@T"), BODY),
    (("-f", "<>", "a@T"), BODY),
    (("-f", "x y", "a@T"), BODY),
    (("-f", "Foo <foo@sink.example>", "a@T"), BODY),
    (("-f", '"x y"@sink.example', "a@T"), BODY),
    (("-f", "me", "-F", "Me, Myself", "a@T"), BODY),
    (("-f", "me", "-F", "Full  Name", "a@T"), BODY),
    (("-f", "me", "-F", "Full (x) Name", "a@T"), BODY),
    (("-f", "me", "-F", '"A" Name', "a@T"), BODY),
    (("-f", "me", "-F", "a\nb", "a@T"), BODY),
    (("-f", "me", "-F", "", "a@T"), BODY),
    (("-f", "me", "-F", "Fäll", "a@T"), BODY),
    (("-G", "a@T"), b"To: foo\nFrom: bar\n\nx\n"),
    (("a@T",), b"To: foo\nFrom: bar\n\nx\n"),
    (("-t",), b"To: a@T\nCc: b@T,\n c@T\nBcc: d@T\nFrom: me@sink.example\nSubject: hi\n\nTo: no@T\n"),
    (("-t", "e@T"), b"Resent-To: a@T\nTo: b@T\nBcc: c@T\nResent-Bcc: d@T\n\nx\n"),
    (("-t",), b"Resent-Date: x\nTo: a@T\n\nx\n"),
    (("-t",), b"Apparently-To: a@T\nTo: g: b@T, c@T;, b@T\n\nx\n"),
    (("-t",), b"To: (nobody)\nCc:\nBcc: a@T\n\nx\n"),
    (("-t", "-i"), b"From x\n>From y\nTo:a@T\n\nx\n"),
    (("-t",), b"To:a@T\r\nCc:\r\n b@T\r\n\r\nx\r\n"),
    (("a@T",), b"From root Mon\n>From x\nFrom: me@sink.example\n\nx\n"),
    (("a@T",), b"Subject: crlf\r\n\r\nbody\r\n.\r\nafter\r\n"),
    (("a@T",), b"Subject: crlf\r\n\r\nbody\r\nbare\nmore\r\r\n"),
    (("a@T",), b"Subject: lf\n\nbody\ncr\r\nmore\r\r\n"),
    (("a@T",), b"Subject: dot\n\nbody\n.\nafter\n"),
    (("-i", "a@T"), b"Subject: dot\n\nbody\n.\nafter\n"),
    (("-oi", "a@T"), b"Subject: dot\n\nbody\n.\nafter\n"),
    (("a@T",), b"Subject: no end\n\nbody"),
    (("a@T",), b"Subject: dot at the end\n\nbody\n."),
    (("a@T",), b"Subject: cr at the end\n\nbody\r"),
    (("a@T",), b""),
    (("a@T",), b"body only\n"),
    (("a@T",), "Subject: ä\n\nö\n".encode()),
    (("a@T",), b"Subject: \xe4\n\n\xf6\n"),
    (("-B", "7BIT", "a@T"), b"Subject: x\n\n\xf6\n"),
    (("a@T",), b"Subject: x\nno header\n\nx\n"),
    (("-XV", "-f", "list@mx.example.com", "a@T", "b@T"), BODY),
    (("-Ac", "-em", "-m", "-U", "-Llabel", "-Oa=b", "-h", "3", "-o7", "-c", "-x", "a@T"), BODY),
    (("-N", "success,delay", "-R", "hdrs", "-V", "abc", "a@T"), BODY),
    (("-bm", "--", "a@T"), BODY),
    (("A <a@T>", "a@T"), BODY),
    (("g: a@T, b@T;",), BODY),
    (('"a b"@sink.example',), BODY),
    (("a@T (comment)", "b@T"), BODY),
)
COMMANDS: tuple[tuple[str, ...], ...] = (
    (), ("-t",), ("-bz",), ("-bt",), ("-Z",), ("-C",), ("-n",), ("-B", "BOGUS", "x"), ("-X", "f", "x"), ("-XVab", "x"),
    ("-XV", "-f", "", "x"), ("-qR",), ("-qI",), ("-qSx",), ("-qX",), ("-qR", "x"), ("-qIABC", "x"), ("-q", "x"),
    ("-q", "-t"), ("-bv", "-t"), ("-bv", "-Nnever"), ("-bv", "-Rfull"), ("-bv", "-v"), ("-bs", "-t"), ("-bp", "x"),
    ("-bi", "x"), ("-bd", "x"), ("-bs", "x"), ("-oA", "x"), ("-bh",), ("-bH",), ("-q15m",), ("-I", "x"), ("-bm",),
    ("-bp", "-t"), ("-bp", "-qRx"), ("-C", "/nonexistent", "x"), ("-q",), ("-qIABC",), ("-bp", "-bv"), ("-h",),
    ("-bz", "-h"), ("-qRfoo.example",),
)  # fmt: skip
WARNINGS: tuple[tuple[str, ...], ...] = (
    ("-N", "bogus"), ("-N", "never,success"), ("-R", "bogus"), ("-V", "a" * 101), ("-V", "a\nb"), ("-V+="),
    ("-V", "ab"), ("-f", "a\nb"), ("-f", "a@b, c@d"), ("-v",),
)  # fmt: skip
SMTP = (
    b"EHLO me\r\nMAIL FROM:<me@sink.example> RET=HDRS ENVID=abc\r\nRCPT TO:<a@T>\r\nDATA\r\nSubject: x\r\n\r\n"
    b"body\r\n.\r\nRSET\r\nVRFY a@sink.example\r\nETRN foo\r\nNOOP\r\nQUIT\r\n",
    b"MAIL FROM:<me@sink.example>\r\nRCPT TO:<b@T>\r\nRCPT TO:<a@T>\r\nDATA\r\nTo: x\r\n\r\nbody\r\n.\r\n",
    b"HELO me\nMAIL FROM:<me>\nRCPT TO:<a@T>\nDATA\nSubject: lf\n\nbody\n.\nQUIT\n",
    b"HELO me\nMAIL FROM:<me>\nRCPT TO:<a@T>\nBDAT 3 LAST\r\nabcQUIT\n",
    b"",
    b"FOO\r\nSTARTTLS\r\nAUTH PLAIN\r\nXCLIENT x\r\nQUIT\r\n",
)


class System:
    """A mail system, and its commands."""

    def __init__(self, etc: Path, log: Path, sink: Sink, program: list[str]) -> None:
        self.etc, self.log_file, self.sink, self.program = etc, log, sink, program

    def run(self, command: str, *words: str, data: bytes = b"") -> tuple[int, str, str]:
        env = {**os.environ, "MAIL_CONFIG": str(self.etc)}
        done = subprocess.run([*self.program, command, *words], input=data, capture_output=True, env=env, timeout=60)
        return done.returncode, _plain(done.stdout.decode()), done.stderr.decode()

    def log(self, program: str) -> list[str]:
        """Lines of a program, without date, process and queue ids."""
        found = re.findall(rf"postfix/{program}\[\d+\]: (.*)", self.log_file.read_text(errors="replace"))
        return [_plain(line) for line in found]


def _plain(text: str) -> str:
    return re.sub(r"\b[0-9A-F]{10,}\b", "ID", text)


class RealCommands(System):
    def run(self, command: str, *words: str, data: bytes = b"") -> tuple[int, str, str]:
        self.program = ["env", f"PATH={os.environ['PATH']}:/usr/sbin"]
        return super().run(command, *words, data=data)


@contextlib.contextmanager
def beside(theirs: Path, ours: Path, **settings: str) -> Iterator[tuple[System, System]]:
    sinks = Sink(), Sink()
    for base in (theirs, ours):
        base.chmod(0o755)
        (base / "mail").mkdir(exist_ok=True)
        (base / "mail").chmod(0o1777)
    postfix = RealPostfix(theirs, sinks[0].port, **settings)
    gateway = Gateway(ours, sinks[1].port, **settings)
    postfix.start()
    gateway.start()
    try:
        yield (
            RealCommands(postfix.etc, postfix.log_file, sinks[0], []),
            System(gateway.etc, gateway.log_file, sinks[1], [str(PROGRAM)]),
        )
    finally:
        postfix.stop()
        gateway.abort()
        for sink in sinks:
            sink.close()


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, System]]:
    with beside(tmp_path_factory.mktemp("theirs"), tmp_path_factory.mktemp("ours")) as both:
        yield both


def _case(number: int, text: str) -> str:
    return text.replace("@T", f"{number}@sink.example")


def _content(content: bytes) -> list[str]:
    text = content.decode("utf-8", "surrogateescape")
    text = re.sub(r"\b\d{14}\.\w+@", "MESSAGE@", text)
    text = re.sub(r"(?:\w{3}, )?\d+ \w{3} \d{4} [\d:]{8} [+-]\d{4}(?: \(\w+\))?", "DATE", text)
    return _plain(text).split("\r\n")


def _messages(sink: Sink, prefix: str = "") -> dict[str, list[object]]:
    """Sender and content by recipient: how recipients are put together is not sendmail's to say."""
    found: dict[str, list[object]] = {}
    for sender, recipients, content in list(sink.messages):
        for recipient in recipients:
            found.setdefault(recipient, []).append((sender, _content(content)))
    return {recipient: found[recipient] for recipient in sorted(found) if prefix in recipient}


def test_messages(systems: tuple[System, System]) -> None:
    for number, (words, data) in enumerate(MESSAGES):
        said = []
        for system in systems:
            sent = _case(number, data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            said.append(system.run("sendmail", *(_case(number, word) for word in words), data=sent))
        assert said[0] == said[1], words
        assert said[0][0] == 0, words
    last = str(len(MESSAGES) - 1)
    theirs, ours = systems
    until(lambda: bool(_messages(theirs.sink, last)) and bool(_messages(ours.sink, last)))
    until(lambda: len(_messages(theirs.sink)) == len(_messages(ours.sink)), said=str(_messages(ours.sink).keys()))
    for recipient, expected in _messages(theirs.sink).items():
        assert _messages(ours.sink).get(recipient) == expected, recipient
    assert _messages(theirs.sink).keys() == _messages(ours.sink).keys()
    assert ours.log("pickup") == theirs.log("pickup")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_what_is_said_and_the_exit_code(systems: tuple[System, System], words: tuple[str, ...]) -> None:
    expected, said = [system.run("sendmail", *words, data=BODY) for system in systems]
    if words in ((("-Z",)), ("-C",), ("-h",)):
        # getopt(3) says its sentence twice: Postfix reads the line twice.
        expected = (expected[0], expected[1], "\n".join(dict.fromkeys(expected[2].split("\n"))) + "\n")
        assert expected[2].strip() == said[2].strip()
        return
    if words == ("-bz", "-h"):
        assert said[0] == expected[0]
        assert said[2] in expected[2]
        return
    assert said == expected


@pytest.mark.parametrize(
    ("name", "words"), [("mailq", ("x",)), ("mailq", ("-t",)), ("newaliases", ("x",)), ("newaliases", ("-t",))]
)
def test_other_names(systems: tuple[System, System], name: str, words: tuple[str, ...]) -> None:
    expected, said = [system.run(name, *words) for system in systems]
    assert said == expected
    assert said[0] == 75


@pytest.mark.parametrize("words", WARNINGS, ids=" ".join)
def test_warnings(systems: tuple[System, System], words: tuple[str, ...]) -> None:
    expected, said = [system.run("sendmail", *words, "w@sink.example", data=BODY) for system in systems]
    assert said == expected
    assert said[0] == 0


@pytest.mark.parametrize("number", range(len(SMTP)))
def test_smtp_on_standard_input(systems: tuple[System, System], number: int) -> None:
    data = _case(1000 + number, SMTP[number].decode()).encode()
    expected, said = [system.run("sendmail", "-bs", data=data) for system in systems]
    assert said == expected
    if b"RCPT" not in data:
        return
    theirs, ours = systems
    until(lambda: bool(_messages(theirs.sink, f"a{1000 + number}")))
    until(lambda: _messages(ours.sink, str(1000 + number)).keys() == _messages(theirs.sink, str(1000 + number)).keys())
    assert _messages(ours.sink, str(1000 + number)) == _messages(theirs.sink, str(1000 + number))


@pytest.mark.parametrize(
    ("words", "data"),
    [(("hello", "world"), b""), (("-p", "warn", "-t", "postfix/tag", "x"), b""), (("-t", "postfix/tag"), b"one\ntwo\n"),
     (("-p", "error", "-t", "postfix/tag", "a\tb\1c"), b""), (("-i", "-v", "-t", "postfix/tag", "x"), b"")],
)  # fmt: skip
def test_postlog(systems: tuple[System, System], words: tuple[str, ...], data: bytes) -> None:
    for system in systems:
        assert system.run("postlog", *words, data=data)[0] == 0
    program = "tag" if "-t" in words else "postlog"
    theirs, ours = systems
    until(lambda: ours.log(program) == theirs.log(program))
    assert ours.log(program)


def test_who_may_not(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    users = {"authorized_submit_users": "!root, static:all"}
    with beside(tmp_path / "theirs", tmp_path / "ours", **users) as both:
        said = [system.run("sendmail", "x@sink.example", data=BODY) for system in both]
        assert said[0] == said[1] == (75, "", "sendmail: fatal: User root(0) is not allowed to submit mail\n")
        said = [system.run("sendmail", "-bs", data=SMTP[2]) for system in both]
        assert said[0] == said[1]


def test_in_whose_name(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    maps = {"local_login_sender_maps": "inline:{{root=me, joe@sink.example @shop.example <>}}"}
    with beside(tmp_path / "theirs", tmp_path / "ours", recipient_delimiter="+", **maps) as both:
        for sender in ("me", "ME", "me+x", "joe@sink.example", "joe+x@sink.example", "jane@sink.example",
                       "x@shop.example", "x@sub.shop.example", "you", "", "me@x"):  # fmt: skip
            said = [system.run("sendmail", "-f", sender, "x@sink.example", data=BODY) for system in both]
            assert said[0] == said[1], sender
