"""Faults that Postfix mended in 2026, each named by its entry in HISTORY. None of them may be ours."""

import tracemalloc

import pytest

from postwarden.testing.reception import Peer, Reception
from postwarden.wire.data import clean
from postwarden.wire.smtp_server import Machine, Options

MAIL, RCPT = "MAIL FROM:<a@b.example>", "RCPT TO:<x@relay.example>"
NEED_MAIL = "503 5.5.1 Error: need MAIL command\r\n"
NEED_RCPT = "503 5.5.1 Error: need RCPT command\r\n"


def greeted(main_cf: str = "", **parameters: str) -> tuple[Reception, Peer]:
    reception = Reception(main_cf, relay_domains="relay.example", smtpd_error_sleep_time="0", **parameters)
    peer = reception.connect()
    peer.say("HELO x")
    return reception, peer


def test_20260803_after_a_refused_end_of_data_nothing_is_left_of_the_transaction() -> None:
    """Postfix kept MAIL and RCPT: a second message skipped check_recipient_access and the milters."""
    reception, peer = greeted(smtpd_end_of_data_restrictions="reject")
    assert peer.say(MAIL, RCPT, "DATA").endswith("354 End data with <CR><LF>.<CR><LF>\r\n")
    assert peer.say("a: b", ".").startswith("554 ")
    assert peer.say("DATA") == NEED_RCPT
    assert peer.say(b"BDAT 1 LAST\r\nx") == NEED_RCPT
    assert peer.say(RCPT) == NEED_MAIL
    assert reception.store.messages == []
    assert peer.say(MAIL, "DATA").endswith("554 5.5.1 Error: no valid recipients\r\n")


def test_20260803_the_same_after_a_message_that_was_too_big() -> None:
    _, peer = greeted(message_size_limit="100")
    peer.say(MAIL, RCPT, "DATA", "a: b", "", "x" * 200, ".")
    assert peer.say("DATA") == NEED_RCPT
    assert peer.say(RCPT) == NEED_MAIL


def test_20260803_the_same_after_a_fault_of_the_disk() -> None:
    from postwarden.mail.reply import Reply

    reception, peer = greeted()
    reception.store.fault = Reply(451, "4.3.0", "Error: queue file write error")
    assert peer.say(MAIL, RCPT, "DATA", "a: b", ".").endswith("451 4.3.0 Error: queue file write error\r\n")
    assert peer.say("DATA") == NEED_RCPT
    assert peer.say(RCPT) == NEED_MAIL


def test_20260803_the_same_after_a_refused_data() -> None:
    _, peer = greeted(smtpd_data_restrictions="reject")
    assert "554 5.7.1" in peer.say(MAIL, RCPT, "DATA")
    assert peer.say("DATA") == NEED_RCPT
    assert peer.say(b"BDAT 1 LAST\r\nx") == NEED_RCPT


@pytest.mark.parametrize("chunk", [b"BDAT 0\r\n", b"BDAT 200\r\n" + b"x" * 200, b"BDAT 200 LAST\r\n" + b"x" * 200])
def test_20260724_after_a_refused_chunk_nothing_is_left_of_the_transaction(chunk: bytes) -> None:
    """Postfix reset the sender and not the recipients."""
    reception, peer = greeted(message_size_limit="100")
    assert peer.say(MAIL, RCPT, chunk).splitlines()[-1].startswith("55")
    assert peer.say(RCPT) == NEED_MAIL
    peer.say("RSET", MAIL)
    assert peer.say("DATA") == "554 5.5.1 Error: no valid recipients\r\n"
    assert peer.say(b"BDAT 1 LAST\r\nx") == "554 5.5.1 Error: no valid recipients\r\n"
    assert reception.store.messages == []


def test_20260812_vrfy_with_utf8_opens_no_transaction() -> None:
    """Postfix left a flag of VRFY behind that let DATA pass without MAIL."""
    reception, peer = greeted()
    assert peer.say("VRFY \u00fc@relay.example SMTPUTF8") == "252 2.0.0 \u00fc@relay.example\r\n"
    assert peer.say("DATA") == NEED_RCPT
    assert peer.say(RCPT) == NEED_MAIL
    peer.say(MAIL)
    assert peer.say("VRFY \u00fc@relay.example SMTPUTF8", "DATA").endswith("no valid recipients\r\n")
    assert reception.store.messages == []


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r\r\n"])
@pytest.mark.parametrize("ending", ["normalize", "reject", "no"])
def test_20260816_stray_cr_and_lf_never_get_through(end: bytes, ending: str) -> None:
    """Whatever stands behind us reads other line endings than we do: what is stored has none but CRLF."""
    reception, peer = greeted(smtpd_forbid_bare_newline=ending, smtpd_forbid_bare_newline_exclusions="")
    evil = b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<x@relay.example>\r\nDATA\r\nevil: yes\r\n.\r\n"
    peer.say(MAIL, RCPT, "DATA", b"a: b\rc\n\r\nx" + end + evil)
    for _, head, body in reception.store.messages:
        assert clean(head) and clean(body)
    if ending != "no":
        assert len(reception.store.messages) <= 1
        assert all(b"evil" not in head for _, head, _ in reception.store.messages)


def test_20260817_headers_that_we_add_open_no_hole() -> None:
    """A first line that begins with a blank would become part of our Received; a HELO name could forge lines."""
    reception, peer = greeted()
    peer.say(b'EHLO x\r(evil)\r<y> "z;\r\n')
    peer.say(MAIL, RCPT, "DATA", b" for <forged@relay.example>; today\r\nBcc: y\r\n.\r\n")
    ((_, head, body),) = reception.store.messages
    assert clean(head)
    assert head.startswith(b"Received: from x??evil???y???z? (localhost [127.0.0.1])\r\n\tby mx.example.com ")
    assert b"forged" not in head and body.startswith(b" for <forged@relay.example>; today\r\n")


def test_20260529_a_line_without_end_is_not_thrown_away_for_ever() -> None:
    _, peer = greeted()
    heard = ""
    for _ in range(40):
        heard += peer.say(b"x" * 4096)
        if peer.closed:
            break
    assert heard == "421 4.7.0 mx.example.com Error: command line too long\r\n"
    assert peer.closed


def test_20260529_a_line_that_is_too_long_is_not_executed() -> None:
    reception, peer = greeted()
    assert peer.say("NOOP " + "x" * 3000) == "500 5.5.2 Error: command line too long\r\n"
    assert peer.say("NOOP") == "250 2.0.0 Ok\r\n"
    assert (
        "warning: localhost[127.0.0.1]: request longer than 2048: NOOP xxxxxxxxxxxxxxxxxxxxxxxxx..." in reception.log[1]
    )


def test_20260529_a_chunk_out_of_order_is_not_thrown_away_for_ever() -> None:
    _, peer = greeted()
    assert peer.say(b"BDAT 999999999999\r\n") == "521 5.3.4 Error: chunk too big\r\n"
    assert peer.closed


def test_20260805_a_thousand_chunks_leave_no_history() -> None:
    reception, peer = greeted()
    peer.say(MAIL, RCPT, b"BDAT 8\r\na: b\r\n\r\n")
    peer.say(*[b"BDAT 1\r\nx"] * 1000)
    tracemalloc.start()
    for _ in range(5):
        peer.say(*[b"BDAT 1\r\nx"] * 1000)
        peer.server.written.clear()
        peer.stream.written.clear()
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 100_000
    assert peer.say("BDAT 0 LAST").startswith("250 2.0.0 Ok: 6010 bytes queued as ")
    assert len(reception.store.messages) == 1


def test_cve_2011_0411_what_comes_with_starttls_is_not_said_under_tls(tmp_path: object) -> None:
    from pathlib import Path

    from postwarden.testing.certificate import write_certificate

    pem = Path(str(tmp_path)) / "mx.pem"
    write_certificate(pem, "mx.example.com")
    reception, peer = greeted(smtpd_tls_security_level="may", smtpd_tls_chain_files=str(pem))
    heard = peer.say("STARTTLS", MAIL, RCPT)
    assert heard == "220 2.0.0 Ready to start TLS\r\n"
    assert peer.session.machine.buffered == 0
    assert "improper command pipelining after STARTTLS from localhost[127.0.0.1]: MAIL FROM:<a@b.example>" in "".join(
        reception.log
    )


def test_cve_2011_0411_nor_what_comes_right_after_it() -> None:
    machine = Machine(Options())
    machine.answered(220)
    machine.receive(b"STARTTLS\r\n")
    machine.next()
    machine.answered(220)
    machine.receive(b"MAIL FROM:<evil@b.example>\r\n")
    machine.secured()
    assert machine.next() is None and machine.buffered == 0
    assert machine.early == ("STARTTLS", b"MAIL FROM:<evil@b.example>\r\n")
