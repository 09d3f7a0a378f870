"""Addresses that can be read and are not taken: strict_rfc821_envelopes, allow_min_user; as Postfix 3.7 answers."""

import pytest

from postwarden.testing.reception import Reception

SENDER, RECIPIENT = "501 5.1.7 Bad sender address syntax\r\n", "501 5.1.3 Bad recipient address syntax\r\n"


def said(path: str, **parameters: str) -> tuple[str, str]:
    made = Reception("", relay_domains="b.example", smtpd_error_sleep_time="0", **parameters)
    peer = made.connect()
    peer.say("HELO x")
    sender = peer.say(f"MAIL FROM:{path}")
    peer.say("RSET", "MAIL FROM:<ok@b.example>")
    return sender, peer.say(f"RCPT TO:{path}")


@pytest.mark.parametrize("path", ["<a@b.example>", " <a@b.example>", "<@r.example:a@b.example>", '<"a b"@b.example>'])
def test_taken_by_the_strict(path: str) -> None:
    assert said(path, strict_rfc821_envelopes="yes") == ("250 2.1.0 Ok\r\n", "250 2.1.5 Ok\r\n")


@pytest.mark.parametrize("path", ["a@b.example", "@r.example:a@b.example"])
def test_taken_only_by_the_lenient(path: str) -> None:
    assert said(path) == ("250 2.1.0 Ok\r\n", "250 2.1.5 Ok\r\n")
    assert said(path, strict_rfc821_envelopes="yes") == (SENDER, RECIPIENT)


@pytest.mark.parametrize("path", ["<-x@b.example>", "-x@b.example", '<"-x"@b.example>', "<-x@b.example> SIZE=1"])
def test_what_a_program_might_take_for_an_option(path: str) -> None:
    assert said(path)[0] == SENDER
    assert said(path.removesuffix(" SIZE=1"))[1] == RECIPIENT
    assert said(path, allow_min_user="yes")[0] == "250 2.1.0 Ok\r\n"


def test_the_log_says_which() -> None:
    made = Reception("", relay_domains="b.example")
    peer = made.connect()
    peer.say("HELO x", "MAIL FROM:<-x@b.example>")
    assert "smtpd: warning: Illegal address syntax from " in "\n".join(made.log)
    assert "in MAIL command: <-x@b.example>" in "\n".join(made.log)


def test_a_hidden_session() -> None:
    made = Reception("", relay_domains="b.example", smtpd_hide_client_session="yes")
    peer = made.connect()
    peer.say("EHLO secret.example", "MAIL FROM:<a@b.example>", "RCPT TO:<b@b.example>", "DATA")
    assert peer.say("Subject: x", "", "text", ".").startswith("250 ")
    ((_, head, _),) = made.store.messages
    received = head.partition(b"Subject:")[0]
    assert received.startswith(b"Received: by mx.example.com (Postfix) id ")
    assert b"secret.example" not in received and b"127.0.0.1" not in received
