"""Notices to the postmaster on a whole gateway: from a receiver that refuses, and about a server that misbehaves."""

import smtplib
from pathlib import Path

import pytest
from tests.whole import Gateway, Sink, running, until

pytestmark = pytest.mark.slow


def test_both_reach_the_mailbox_as_in_postfix(tmp_path: Path) -> None:
    sink = Sink(refuse=lambda line: "501 5.5.4 Never heard of it" if line.upper().startswith("RCPT") else None)
    settings = {
        "notify_classes": "policy, protocol",
        "error_notice_recipient": "mail@mx.example.com",
        "local_recipient_maps": "",
        "smtpd_recipient_restrictions": "check_recipient_access inline:{refused.example=REJECT}, permit",
    }
    with running(Gateway(tmp_path, sink.port, **settings)) as gateway:
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
            client.sendmail("", ["r@sink.example"], "Subject: x\r\n\r\nbody\r\n")
            client.sendmail("mail@mx.example.com", ["r@sink.example"], "Subject: x\r\n\r\nbody\r\n")
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
            client.ehlo("client.example")
            client.mail("a@b.example")
            assert client.rcpt("x@refused.example")[0] == 554
        box = tmp_path / "mail" / "mail"
        until(lambda: box.exists() and box.read_text().count("Transcript of session follows.") == 2, 30, gateway.log())
        text = box.read_text()
        assert "Subject: Postfix SMTP server: errors from localhost[127.0.0.1]\n" in text
        assert f"Subject: Postfix SMTP client: errors from 127.0.0.1[127.0.0.1]:{sink.port}\n" in text
        assert " In:  501 5.5.4 Never heard of it\n" in text
        assert " Out: 554 5.7.1 <x@refused.example>: Recipient address rejected: Access denied\n" in text
        log = gateway.log()
        assert log.count("from=<double-bounce@mx.example.com>") == 2
        until(lambda: gateway.log().count(": removed") >= 5, 20, gateway.log())
    sink.close()
