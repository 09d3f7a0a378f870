"""Who is told what, beside real Postfix: every combination of DSN parameters with every kind of recipient, copies for
postmasters, delays, templates, threads. Reports are equal line by line but for ids and dates."""

import re
import smtplib
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from tests.interop.test_bounces import plain
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import PROGRAM, Gateway, Sink, running, until

from postwarden.ipc.queue_client import QueueClient

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]

NOTIFY = ("", "NEVER", "SUCCESS", "FAILURE", "DELAY", "SUCCESS,FAILURE", "SUCCESS,DELAY", "FAILURE,DELAY",
          "SUCCESS,FAILURE,DELAY")  # fmt: skip
RECIPIENTS = (
    "good@sink.example", "good@plain.example", "bad@sink.example", "later@sink.example", "daemon@mx.example.com",
    "nobody-here@mx.example.com", "one@mx.example.com", "many@mx.example.com", "away@mx.example.com",
    "awaybad@mx.example.com", "owned@mx.example.com", "ownedbad@mx.example.com", "one@virtual.example",
    "many@virtual.example", "bad@virtual.example",
)  # fmt: skip
ALIASES = """\
one daemon
many daemon, bin
away good@sink.example
awaybad bad@sink.example
owned daemon, good@sink.example
owner-owned owner@sink.example
ownedbad bad@sink.example
owner-ownedbad owner@sink.example
"""
VIRTUAL = """\
one@virtual.example good@sink.example
many@virtual.example good@sink.example, good@plain.example, daemon@mx.example.com
bad@virtual.example bad@sink.example
"""
Found = dict[tuple[str, str, str], list[list[bytes]]]


class Remote(Sink):
    """Refuses `bad`, puts `later` off, and `second` at first; `dsn`: it would report by itself."""

    def __init__(self, *, dsn: bool) -> None:
        self.dsn = dsn
        self.seen: set[str] = set()
        super().__init__(refuse=self.answer)

    def answer(self, line: str) -> str | None:
        if line.startswith("RCPT TO:<bad"):
            return "550 5.1.1 <bad>: no such user here"
        if line.startswith("RCPT TO:<second") and line not in self.seen:
            self.seen.add(line)
            return "450 4.2.0 once more"
        if line.startswith("RCPT TO:<later"):
            return "450 4.2.0 <later>: come back later"
        if line.startswith("EHLO") and not self.dsn:
            return "250-plain.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 99999999"
        return None


class Letter:
    def __init__(self, *recipients: str, subject: str, sender: str = "sender@sink.example", head: str = "") -> None:
        self.recipients = recipients
        self.subject = subject
        self.sender = sender
        self.head = head
        self.mail: list[str] = []
        self.rcpt: list[str] = []

    def content(self) -> bytes:
        return f"Subject: {self.subject}\r\nMessage-Id: <a.b@c>\r\n{self.head}\r\nbody\r\n".encode()


def send(port: int, letters: list[Letter]) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        for letter in letters:
            client.ehlo_or_helo_if_needed()
            client.command_encoding = "utf-8"
            client.sendmail(letter.sender, letter.recipients, letter.content(), letter.mail, letter.rcpt)


def quiet(sinks: tuple[Remote, Remote], etc: Path, waiting: frozenset[str] = frozenset({"deferred"})) -> None:
    """Until nothing is under way, and nothing has arrived for a second. `waiting`: queues where mail may be left."""
    count, since = -1, 0.0

    def still() -> bool:
        nonlocal count, since
        now = sum(len(sink.messages) for sink in sinks)
        if now != count or not queues(etc) <= waiting:
            count, since = now, time.monotonic()
        return time.monotonic() - since > 1

    until(still, 100)


def queues(etc: Path) -> set[str]:
    """Those with mail in them."""
    if etc.name != "postfix":
        with QueueClient(str(etc.parent / "queue")) as client:
            return {listed.queue(listed.state()) for listed in client.listing()}
    queue = etc.parent / "postfix-queue"
    names = ("maildrop", "incoming", "active", "deferred")
    return {name for name in names for path in (queue / name).rglob("*") if path.is_file()}


def reports(sinks: tuple[Remote, Remote]) -> Found:
    """(sender, recipient, subject of the report and of what it is about) -> lines of each."""
    found: Found = {}
    for sink in sinks:
        for sender, recipients, content in sink.messages:
            if b"multipart/report" not in content or not recipients:
                continue
            subjects = re.findall(rb"(?m)^Subject: (.*)\r$", content)
            key = (sender, str(recipients), b" / ".join(subjects).decode())
            found.setdefault(key, []).append(plain(content))
    return found


def both(
    base: Path, settings: dict[str, str], work: Callable[[int, tuple[Remote, Remote], Path], None]
) -> tuple[Found, Found]:
    """What real Postfix and we report of the same."""
    found: list[Found] = []
    for who in ("postfix", "us"):
        here = base / who
        here.mkdir()
        (here / "aliases").write_text(ALIASES)
        (here / "virtual").write_text(VIRTUAL)
        (here / "mail").mkdir(mode=0o1777)
        (here / "mail").chmod(0o1777)
        sinks = Remote(dsn=True), Remote(dsn=False)
        hosts = ", ".join(
            f"{name}.example=smtp:[127.0.0.1]:{sink.port}" for name, sink in zip(("sink", "plain"), sinks, strict=True)
        )
        hosts += ", dead.example=smtp:[127.0.0.1]:1"
        common = {
            "local_recipient_maps": "",
            "smtpd_discard_ehlo_keywords": "chunking",
            "transport_maps": f"inline:{{{hosts}, {{gone.example=error:5.1.2 gone for good}}}}",
            "smtpd_reject_unlisted_recipient": "no",
            "alias_maps": f"texthash:{here}/aliases",
            "virtual_alias_maps": f"texthash:{here}/virtual",
            "virtual_alias_domains": "virtual.example",
        } | settings
        if who == "us":
            with running(Gateway(here, sinks[0].port, postwarden_bounce_reasons="no", **common)) as gateway:
                work(gateway.port, sinks, gateway.etc)
        else:
            postfix = RealPostfix(here, sinks[0].port, **common)
            postfix.start()
            try:
                work(postfix.port, sinks, postfix.etc)
            finally:
                postfix.stop()
        found.append(reports(sinks))
        for sink in sinks:
            sink.close()
    return found[0], found[1]


def repaired(line: bytes) -> bytes:
    """Postfix quotes a sender that is not ASCII byte by byte, and calls such addresses rfc822 (RFC 6533 3)."""
    line = line.replace(b'"s\\\xc3\\\xbc"@', b"s\xc3\xbc@")
    return line if line.isascii() else line.replace(b" rfc822;", b" utf-8;")


def same(theirs: Found, ours: Found) -> None:
    assert sorted(theirs) == sorted(ours)
    for key, texts in theirs.items():
        # The order of recipients is that of Postfix's deliveries, and no promise.
        theirs_sorted = sorted([sorted(map(repaired, lines)) for lines in texts])
        for one, other in zip(theirs_sorted, sorted(map(sorted, ours[key])), strict=True):
            missing, more = Counter(one) - Counter(other), Counter(other) - Counter(one)
            assert (list(missing), list(more)) == ([], []), key


def combinations() -> list[Letter]:
    """Each NOTIFY with each recipient; RET, ENVID and ORCPT take turns."""
    letters = []
    for number, (notify, recipient) in enumerate(product(NOTIFY, RECIPIENTS)):
        letter = Letter(recipient, subject=f"{recipient} {notify or 'default'}")
        letter.mail = [
            word for word in (("", "RET=FULL", "RET=HDRS")[number % 3], ("", "ENVID=a+2Bb")[number % 2]) if word
        ]
        letter.rcpt = [f"NOTIFY={notify}"] if notify else []
        letter.rcpt += (
            ("", "ORCPT=rfc822;or+2Big@x.example", "")[number % 3 : number % 3 + 1] if number % 3 == 1 else []
        )
        letters.append(letter)
    return letters


def test_each_combination_of_dsn_parameters(tmp_path: Path) -> None:
    def work(port: int, sinks: tuple[Remote, Remote], etc: Path) -> None:
        send(port, combinations())
        quiet(sinks, etc)

    theirs, ours = both(tmp_path, {"delay_warning_time": "1s"}, work)
    assert len(theirs) > 60
    same(theirs, ours)


def test_copies_for_postmasters(tmp_path: Path) -> None:
    def work(port: int, sinks: tuple[Remote, Remote], etc: Path) -> None:
        letters = []
        for sender, notify in product(("sender@sink.example", "", "double-bounce@mx.example.com"), NOTIFY[:5]):
            for recipient in ("bad@sink.example", "good@plain.example", "later@sink.example"):
                letter = Letter(recipient, subject=f"{sender} {notify} {recipient}", sender=sender)
                letter.rcpt = [f"NOTIFY={notify}"] if notify else []
                letters.append(letter)
        letters.append(Letter("bad@sink.example", "bad1@sink.example", "good@plain.example", subject="three"))
        send(port, letters)
        quiet(sinks, etc)

    settings = {
        "notify_classes": "bounce, 2bounce, delay",
        "bounce_notice_recipient": "bounces@sink.example",
        "delay_notice_recipient": "delays@sink.example",
        "2bounce_notice_recipient": "twice@sink.example",
        "delay_warning_time": "1s",
        "enable_threaded_bounces": "yes",
    }
    same(*both(tmp_path, settings, work))


def sendmail(etc: Path, *words: str, subject: str) -> subprocess.CompletedProcess[str]:
    program = ["sendmail", "-C", str(etc)] if etc.name == "postfix" else [str(PROGRAM), "sendmail", "-C", str(etc)]
    text = f"From: sender@sink.example\nSubject: {subject}\nMessage-Id: <a@b>\n\nbody\n"
    return subprocess.run([*program, *words], input=text, text=True, capture_output=True, timeout=30)


def test_sendmail_that_verifies_and_records(tmp_path: Path) -> None:
    recipients = [*RECIPIENTS, "refused@dead.example"]
    said = "Mail Delivery Status Report will be mailed to <sender@sink.example>.\n"

    def work(port: int, sinks: tuple[Remote, Remote], etc: Path) -> None:
        for option, to in (("-bv", recipients), ("-v", RECIPIENTS)):
            done = sendmail(etc, "-f", "sender@sink.example", option, *to, subject="recorded")
            assert (done.returncode, done.stdout) == (0, said), done.stderr
        quiet(sinks, etc)
        for sink in sinks:
            assert [m for m in sink.messages if b"\r\nSubject: probe" in m[2] and b"report" not in m[2]] == []

    same(*both(tmp_path, {}, work))


def test_sendmail_with_dsn_parameters_and_verp(tmp_path: Path) -> None:
    def work(port: int, sinks: tuple[Remote, Remote], etc: Path) -> None:
        to = ["bad@sink.example", "good@plain.example", "daemon@mx.example.com", "many@virtual.example"]
        for number, words in enumerate((
            ["-N", "success,failure"], ["-N", "never"], ["-N", "success", "-R", "hdrs", "-V", "an+id"],
            ["-XV"], ["-XV", "-N", "success,failure,delay"], ["-N", "failure", "-R", "full"],
        )):  # fmt: skip
            done = sendmail(etc, "-f", "sender@sink.example", *words, *to, subject=f"letter {number}")
            assert done.returncode == 0, done.stderr
        quiet(sinks, etc)

    theirs, ours = both(tmp_path, {}, work)
    assert ("", "['sender+bad=sink.example@sink.example']", "Undelivered Mail Returned to Sender / letter 3") in theirs
    same(theirs, ours)


TEMPLATES = """\
failure_template = <<EOF
Charset: iso-8859-1
From: Robot <robot@x.example>
Subject: My Failure
Postmaster-Subject: My Copy

Host $myhostname, $maximal_queue_lifetime_seconds
.
From here
EOF
"""


def odd_letters() -> list[Letter]:
    letters = [
        Letter(to, subject=to)
        for to in ("later@sink.example", "x@dead.example", "gone@gone.example", "user@moved.example")
    ]
    letters += [
        Letter("bad@sink.example", subject="large", head="X-Filler: a\r\n" * 200),
        Letter("later@sink.example", "bad@sink.example", "daemon@mx.example.com", subject="mixed"),
        Letter('"bad one"@sink.example', subject="quoted", sender='"a b"@sink.example'),
    ]
    for sender, recipient in (
        ("sender@sink.example", "bad\u00fc@sink.example"),
        ("s\u00fc@sink.example", "bad@sink.example"),
    ):
        letter = Letter(recipient, subject=f"utf8 {sender.isascii()}", sender=sender)
        letter.mail = ["SMTPUTF8", "BODY=8BITMIME"]
        letters.append(letter)
    return letters


@pytest.mark.parametrize("variant", ["templates", "plain", "soft"])
def test_expiry_templates_utf8_and_odd_addresses(tmp_path: Path, variant: str) -> None:
    def work(port: int, sinks: tuple[Remote, Remote], etc: Path) -> None:
        send(port, odd_letters() if variant != "plain" else odd_letters()[:-2])
        quiet(sinks, etc)

    (tmp_path / "bounce.cf").write_text(TEMPLATES)
    settings = {
        "maximal_queue_lifetime": "0",
        "bounce_size_limit": "2000",
        "relay_domains": "sink.example, plain.example, dead.example, gone.example",
        "relocated_maps": "inline:{user@moved.example=elsewhere@x.example}",
    }
    if variant == "templates":
        settings |= {"bounce_template_file": str(tmp_path / "bounce.cf"), "header_from_format": "obsolete"}
        settings |= {"notify_classes": "bounce", "bounce_notice_recipient": "copies@sink.example"}
    elif variant == "plain":
        settings |= {"smtputf8_enable": "no"}
    else:
        settings |= {"soft_bounce": "yes"}
    theirs, ours = both(tmp_path, settings, work)
    assert len(theirs) >= 5
    same(theirs, ours)


def test_delays_that_are_over(tmp_path: Path) -> None:
    """Without SUCCESS: there Postfix names such a recipient twice, or tells of what the next server will report."""
    notify_words = [notify for notify in NOTIFY if "SUCCESS" not in notify]

    def work(port: int, sinks: tuple[Remote, Remote], etc: Path) -> None:
        letters = []
        for number, (notify, host) in enumerate(product(notify_words, ("sink.example", "plain.example"))):
            letter = Letter(f"second{number}@{host}", subject=f"{host} {notify}")
            letter.rcpt = [f"NOTIFY={notify}"] if notify else []
            letters.append(letter)
        letters.append(Letter("second98@plain.example", "second99@plain.example", "bad@plain.example", subject="some"))
        send(port, letters)
        quiet(sinks, etc, frozenset())

    settings = {
        "delay_warning_time": "1s",
        "confirm_delay_cleared": "yes",
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "1s",
        "queue_run_delay": "1s",
    }
    same(*both(tmp_path, settings, work))
