"""Reports of failed deliveries beside real Postfix's: equal but for ids, dates and what the packages are called."""

import re
import smtplib
import threading
from pathlib import Path

import pytest
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import Gateway, Sink, running, until

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]

LONG = (
    "550-5.7.1 first line of a long story\r\n550-5.7.1 second line, which goes on and on "
    + "x" * 200
    + "\r\n550 5.7.1 end"
)
MESSAGES = (
    (["bad@sink.example"], "Subject: one\r\n\r\nbody\r\n", [], []),
    (["bad@sink.example", "good@sink.example", "bad2@sink.example"], "Subject: some\r\n\r\nbody\r\n", [], []),
    (["long@sink.example"], "Subject: long\r\nX-A: b\r\n\r\n" + "line\r\n" * 50, [], []),
    (["none@mx.example.com"], "Subject: local\r\n\r\nbody\r\n", [], []),
    (["bad@sink.example"], "Subject: 8bit ä\r\n\r\nbödy\r\n".encode(), ["BODY=8BITMIME"], []),
    (["bad@sink.example"], "Subject: headers\r\n\r\nbody\r\n", ["RET=HDRS", "ENVID=abc+2Bdef"], ["ORCPT=rfc822;x@y"]),
    (["bad@sink.example"], "Subject: full\r\n\r\nbody\r\n", ["RET=FULL"], ["NOTIFY=FAILURE"]),
    (["bad@sink.example"], "Subject: never\r\n\r\nbody\r\n", [], ["NOTIFY=NEVER"]),
    (["data@sink.example"], "Subject: refused\r\n\r\nrefuse this\r\n", [], []),
    (["bad@sink.example"], b"Subject: no end of lines\r\n\r\n" + b"y" * 3000 + b"\r\n.dot\r\n", [], []),
    (["bad@sink.example"], b"Content-Type: text/plain\r\nno header\r\n\r\nx\r\n", [], []),
)


class Remote(Sink):
    def __init__(self) -> None:
        self.session = threading.local()  # each session has a thread
        super().__init__(refuse=self.answer)

    def answer(self, line: str) -> str | None:
        if line.startswith("RCPT"):
            self.session.refuses_data = "data@" in line
            if "bad" in line:
                return "550 5.1.1 <bad>: no such user here"
            return LONG if "long@" in line else None
        return "554 5.6.0 content refused" if line == "." and self.session.refuses_data else None


def plain(content: bytes) -> list[bytes]:
    content = re.sub(rb"\b\d{14}\.\w+@", b"MESSAGE@", content)
    content = re.sub(rb"\b[0-9A-F]{10,}\.\d+/", b"BOUNDARY/", content)
    content = re.sub(rb"\b[0-9A-F]{10,}(?=[@;)\s]|$)", b"ID", content)
    content = re.sub(rb"(?:\w{3}, )?\d+ \w{3} \d{4} [\d:]{8} [+-]\d{4}(?: \(\w+\))?", b"DATE", content)
    content = re.sub(rb"\[?127\.0\.0\.1\]?:\d+", b"ADDRESS", content)
    return content.split(b"\r\n")


def bounces(port: int, sink: Sink, number: int) -> dict[bytes, list[bytes]]:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        for recipients, content, mail_options, rcpt_options in MESSAGES:
            client.sendmail("sender@sink.example", recipients, content, mail_options, rcpt_options)
    # A pipelining client that had all its recipients refused sends an empty message, if DATA is accepted nevertheless.
    until(lambda: sum(1 for message in sink.messages if message[1]) >= number, 30, str(len(sink.messages)))
    found = {}
    for sender, recipients, content in [message for message in sink.messages if message[1]]:
        lines = plain(content)
        subject = re.findall(rb"(?m)^Subject: (.*)\r$", content)[-1]
        found[b"<%s> %s %s" % (sender.encode(), str(recipients).encode(), subject)] = lines
    return found


def test_reports_are_those_of_postfix(tmp_path: Path) -> None:
    settings = {"local_recipient_maps": "", "smtpd_discard_ehlo_keywords": "chunking"}
    transports = "inline:{sink.example=smtp:[127.0.0.1]:PORT}"
    # No report for NOTIFY=NEVER; one message has a recipient that is delivered and two that are not.
    number = len(MESSAGES) - 1 + 1
    found = []
    for who in ("us", "postfix"):
        sink = Remote()
        (tmp_path / who).mkdir()
        settings |= {"transport_maps": transports.replace("PORT", str(sink.port))}

        if who == "us":
            with running(Gateway(tmp_path / who, sink.port, postwarden_bounce_reasons="no", **settings)) as gateway:
                found.append(bounces(gateway.port, sink, number))
        else:
            postfix = RealPostfix(tmp_path / who, sink.port, **settings)
            postfix.start()
            try:
                found.append(bounces(postfix.port, sink, number))
            finally:
                postfix.stop()
        sink.close()
    ours, theirs = found
    assert ours.keys() == theirs.keys()
    for name, lines in theirs.items():
        # Postfix sorts the recipients of one delivery by address; we keep the client's order.
        mixed = name.endswith(b" some")
        assert (sorted if mixed else list)(ours[name]) == (sorted if mixed else list)(lines), name
