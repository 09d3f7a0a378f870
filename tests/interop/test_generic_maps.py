"""smtp_generic_maps beside smtp(8): what a server hears and gets, message by message."""

import smtplib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.realpostfix import RealPostfix, missing
from tests.whole import Gateway, Sink, running, until

pytestmark = [pytest.mark.slow, pytest.mark.postfix, pytest.mark.skipif(missing, reason="needs root and Postfix")]

MAPS = (
    "inline:{ {joe@inner.example=joe@outer.example} {@host.inner.example=@outer.example} {local=alone@outer.example}"
    " {once@inner.example=joe@inner.example} {bare@inner.example=bare} {many@inner.example=one@o.example two@o.example}"
    ' {spaced@inner.example="a b"@outer.example} {to@sink.example=changed@sink.example}'
    " {self@inner.example=self@INNER.example} {ü@inner.example=ue@outer.example} }"
)
SETTINGS = {
    "smtp_generic_maps": MAPS,
    "recipient_delimiter": "+",
    "local_header_rewrite_clients": "",
    "smtpd_recipient_restrictions": "permit_mynetworks, reject",
    "enable_original_recipient": "yes",
    "smtpd_peername_lookup": "no",
}
HEAD = "Message-Id: <m@x>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
MESSAGES = [
    ("joe@inner.example", ["to@sink.example"], "from: Joe <joe@inner.example>\r\nTO: to@sink.example\r\n"),
    ("JOE+x@Inner.example", ["r@sink.example"], "From: JOE+x@Inner.example\r\nCc: a@b.c, joe@inner.example (x)\r\n"),
    ("u@host.inner.example", ["r@sink.example"], "From: u@host.inner.example\r\nReply-To: u+e@HOST.inner.example\r\n"),
    ("local@mx.example.com", ["r@sink.example"], "Sender: <local@mx.example.com>\r\nFrom: local+e@mx.example.com\r\n"),
    ("once@inner.example", ["r@sink.example"], "From: once@inner.example\r\nSubject: joe@inner.example\r\n"),
    ("bare@inner.example", ["r@sink.example"], "From: bare@inner.example\r\nErrors-To: bare@inner.example\r\n"),
    ("many@inner.example", ["r@sink.example"], "From: many@inner.example\r\n"),
    ("spaced@inner.example", ["r@sink.example"], "From: S <spaced@inner.example>\r\n"),
    ("", ["to@sink.example", "r@sink.example"], "From: <>\r\nTo: undisclosed: joe@inner.example;\r\n"),
    ("self@inner.example", ["r@sink.example"], "From: self@inner.example\r\n"
     "To: \"joe\"@inner.example, joe <joe@inner.example>\r\n"),
    ("no@where.example", ["r@sink.example"], "From: no@where.example\r\nResent-From: joe@inner.example\r\n"
     "X-From: joe@inner.example\r\n"),
    ("joe@inner.example", ["r@sink.example"],
     "To: " + ",\r\n ".join(f"a{n}@b.example, joe@inner.example" for n in range(9))
     + "\r\nFrom: joe@inner.example,\r\n  u@host.inner.example\r\n"),
    ("joe@inner.example", ["r@sink.example"],
     "From: x@y.example\r\nDisposition-Notification-To: joe@inner.example\r\nReturn-Receipt-To: joe@inner.example\r\n"
     "Mail-Followup-To: joe@inner.example\r\nApparently-To: joe@inner.example\r\nResent-To: joe@inner.example\r\n"),
    ("joe@inner.example", ["r@sink.example"], "From: x@y.example\r\n"
     "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
     "From: joe@inner.example\r\nContent-Type: message/rfc822\r\n\r\nFrom: joe@inner.example\r\n\r\nx\r\n--b--\r\n"),
]  # fmt: skip


def deliver(port: int, sink: Sink, log: Callable[[], str]) -> list[tuple[str, list[str], str]]:
    got = []
    for number, (sender, recipients, head) in enumerate(MESSAGES):
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
            client.sendmail(sender, recipients, f"X-Number: {number}\r\n{HEAD}{head}\r\nbody joe@inner.example\r\n")
        until(lambda count=number: len(sink.messages) > count, 20, log)  # type: ignore[misc]
        sender, recipients, content = sink.messages[-1]
        got.append((sender, sorted(recipients), content[content.index(b"X-Number") :].decode()))
    return got


def test_addresses_leave_as_they_leave_postfix(tmp_path: Path) -> None:
    theirs_sink, ours_sink = Sink(), Sink()
    base = tmp_path / "postfix"
    base.mkdir()
    tmp_path.chmod(0o755)
    postfix = RealPostfix(base, theirs_sink.port, **SETTINGS)
    postfix.start()
    try:
        theirs = deliver(postfix.port, theirs_sink, postfix.log)
    finally:
        postfix.stop()
    with running(Gateway(tmp_path, ours_sink.port, **SETTINGS)) as gateway:
        ours = deliver(gateway.port, ours_sink, gateway.log)
        log = gateway.log()
    theirs_sink.close()
    ours_sink.close()
    assert "from=<joe@inner.example>" in log, "the log has what was there before"
    assert "to=<to@sink.example>" in log
    assert theirs[0][:2] == ("joe@outer.example", ["changed@sink.example"]), "the tables were asked"
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == other
