"""What access tables want done with a message, as it is stored."""

import sqlite3
from pathlib import Path
from typing import NamedTuple

import pytest

from postwarden.mail.envelope import Envelope, Notify
from postwarden.testing.reception import ZONE, Peer, Reception

BASE = """mynetworks = 127.0.0.0/8
relay_domains = rel.example
relay_recipient_maps =
smtpd_authorized_xclient_hosts = 192.0.2.10
"""


class Stored(NamedTuple):
    envelope: Envelope
    head: bytes
    body: bytes


def send(main_cf: str, *recipients: str) -> tuple[Stored, Peer, list[str]]:
    place = Reception(BASE + main_cf)
    peer = place.connect("192.0.2.10")
    peer.say("EHLO x", "MAIL FROM:<s@far.example>")
    for recipient in recipients or ("a@rel.example",):
        peer.say(f"RCPT TO:<{recipient}>")
    peer.say("DATA", "Subject: x", "", "y", ".")
    return Stored(*place.store.messages[0]), peer, place.log


def acting(action: str, parameter: str = "smtpd_recipient_restrictions") -> str:
    return f"{parameter} = check_sender_access inline:{{ {{ far.example={action} }} }}\n"


def test_filter() -> None:
    stored, _, log = send(acting("FILTER smtp:[127.0.0.1]:10025"))
    assert stored.envelope.filter == "smtp:[127.0.0.1]:10025"
    assert any(": filter: RCPT from" in line and "triggers FILTER smtp:[127.0.0.1]:10025;" in line for line in log)


def test_redirect_overrides_recipients_and_filter() -> None:
    stored, _, _ = send(
        acting("REDIRECT new@rel.example") + acting("FILTER smtp:x", "smtpd_sender_restrictions"),
        "a@rel.example",
        "b@rel.example",
    )
    assert [(r.address, r.original) for r in stored.envelope.recipients] == [("new@rel.example", "a@rel.example")]
    assert stored.envelope.filter == ""


def test_copies() -> None:
    stored, _, _ = send(acting("BCC b@rel.example"), "a@rel.example", "c@rel.example")
    assert [(r.address, r.notify) for r in stored.envelope.recipients] == [
        ("a@rel.example", Notify.UNSPECIFIED),
        ("c@rel.example", Notify.UNSPECIFIED),
        ("b@rel.example", Notify.NEVER),
    ]


@pytest.mark.parametrize("parameter", ["smtpd_client_restrictions", "smtpd_data_restrictions"])
def test_prepended_headers_come_first_and_in_order(parameter: str) -> None:
    both = "mine = check_sender_access inline:{{far.example=PREPEND X-B: 2}}\nsmtpd_restriction_classes = mine\n"
    table = "check_sender_access inline:{{far.example=PREPEND X-A: 1}}"
    stored, _, log = send(f"{both}{parameter} = {table}, mine\n")
    assert stored.head.startswith(b"X-A: 1\r\nX-B: 2\r\nReceived: ")
    assert stored.envelope.size == len(stored.head) + len(stored.body)
    assert not any("prepend" in line for line in log)


def test_a_prepended_header_is_one_header(tmp_path: Path) -> None:
    table = tmp_path / "table"
    database = sqlite3.connect(table)
    database.execute("CREATE TABLE t (v TEXT)")
    database.execute("INSERT INTO t VALUES (?)", ("PREPEND X-A: 1\r\n\r\nmade up",))
    database.commit()
    database.close()
    definition = tmp_path / "definition"
    definition.write_text(f"dbpath = {table}\nquery = SELECT v FROM t\n")
    stored, _, _ = send(f"smtpd_recipient_restrictions = check_sender_access sqlite:{definition}\n")
    assert stored.head.startswith(b"X-A: 1 made up\r\nReceived: ")


def test_what_was_said_for_a_refused_recipient_holds_for_the_message() -> None:
    table = "check_recipient_access inline:{{a@rel.example=HOLD} {b@rel.example=DUNNO}}"
    refuse = "check_recipient_access inline:{a@rel.example=REJECT}"
    stored, _, log = send(f"smtpd_recipient_restrictions = {table}, {refuse}\n", "a@rel.example", "b@rel.example")
    assert [r.address for r in stored.envelope.recipients] == ["b@rel.example"] and stored.envelope.hold
    assert sum(": hold: " in line for line in log) == 1


def test_the_next_message_is_as_any_other() -> None:
    place = Reception(BASE + acting("FILTER smtp:x"))
    peer = place.connect("192.0.2.10")
    peer.say("EHLO x")
    for sender in ("s@far.example", "s@other.example"):
        peer.say(f"MAIL FROM:<{sender}>", "RCPT TO:<a@rel.example>", "DATA", "x: y", "", ".")
    assert [envelope.filter for envelope, _, _ in place.store.messages] == ["smtp:x", ""]


def test_discarded_recipients_are_not_judged() -> None:
    place = Reception(BASE + acting("DISCARD", "smtpd_sender_restrictions"))
    peer = place.connect("192.0.2.10")
    peer.say("EHLO x", "MAIL FROM:<s@far.example>")
    assert peer.say("RCPT TO:<a@rel.example>").startswith("250 ")
    assert peer.say("RCPT TO:<x@elsewhere.example>").startswith("250 ")
    assert "queued as" in peer.say("DATA", "x: y", "", ".")
    assert place.store.messages == []


def test_actions_for_a_message_are_skipped_where_there_is_none() -> None:
    stored, _, log = send(
        "smtpd_delay_reject = no\nsmtpd_client_restrictions = check_client_access inline:{192.0.2.10=HOLD}\n"
    )
    assert not stored.envelope.hold
    assert any("with smtpd_delay_reject=no, action HOLD is always skipped" in line for line in log)


def test_warnings_and_notes_are_logged() -> None:
    _, _, log = send(acting("WARN look") + acting("INFO here", "smtpd_data_restrictions"))
    assert any(": warn: RCPT from client.example.net[192.0.2.10]: look; from=<s@far.example>" in line for line in log)
    assert any(": info: DATA from client.example.net[192.0.2.10]: here; from=<s@far.example>" in line for line in log)


def test_what_waits_for_dns_is_answered_when_it_is_there() -> None:
    zone = f"{ZONE}\nfar.example MX 5 m.far.example"
    place = Reception(BASE + "smtpd_sender_restrictions = reject_unknown_sender_domain\n", zone=zone)
    peer = place.connect("192.0.2.10")
    peer.say("EHLO x", "MAIL FROM:<s@far.example>")
    assert peer.say("RCPT TO:<a@rel.example>").startswith("250 ")
    peer.say("RSET", "MAIL FROM:<s@nowhere.example>")
    assert peer.say("RCPT TO:<a@rel.example>").startswith("450 4.1.8 ")


def test_lists_within_tables_end() -> None:
    loop = "mine = check_sender_access inline:{far.example=mine}\nsmtpd_restriction_classes = mine\n"
    place = Reception(BASE + loop + "smtpd_recipient_restrictions = mine\n")
    peer = place.connect("192.0.2.10")
    peer.say("EHLO x", "MAIL FROM:<s@far.example>")
    assert peer.say("RCPT TO:<a@rel.example>") == "451 4.3.5 Server configuration error\r\n"
    assert any("causes unreasonable recursion" in line for line in place.log)


def test_discard_by_what_never_permits() -> None:
    """As in smtpd(8): what is thrown away opens no door."""
    place = Reception(BASE + "smtpd_sender_restrictions = check_reverse_client_hostname_access static:DISCARD\n")
    peer = place.connect("192.0.2.10")
    peer.say("EHLO x")
    peer.say("MAIL FROM:<s@far.example>")
    assert peer.say("RCPT TO:<a@rel.example>").startswith("250 ")
    peer.say("DATA")
    assert peer.say("Subject: x", "", "y", ".").startswith("250 ")
    assert place.store.messages == []
    assert not any("not allowed for security" in line for line in place.log)
