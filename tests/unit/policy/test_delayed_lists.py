"""Lists that are judged at RCPT or later know the recipient, as smtpd(8)'s do."""

import pytest

from postwarden.testing.reception import Peer, Reception

BASE = "mynetworks = 127.0.0.0/8\nrelay_domains = rel.example\nrelay_recipient_maps =\n"
TABLE = "check_recipient_access inline:{a@rel.example=REJECT}"


def greeted(main_cf: str) -> Peer:
    peer = Reception(BASE + main_cf).connect("192.0.2.10")
    peer.say("EHLO x", "MAIL FROM:<s@far.example>")
    return peer


@pytest.mark.parametrize(
    "parameter", ["smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions"]
)
def test_a_recipient_can_be_refused_by_an_earlier_list(parameter: str) -> None:
    peer = greeted(f"{parameter} = {TABLE}\n")
    assert peer.say("RCPT TO:<a@rel.example>").startswith("554 5.7.1 <a@rel.example>: Recipient address rejected:")
    assert peer.say("RCPT TO:<b@rel.example>").startswith("250 ")


def test_relaying_can_be_refused_by_an_earlier_list() -> None:
    peer = greeted(
        "smtpd_sender_restrictions = reject_unauth_destination\nsmtpd_relay_restrictions = defer_unauth_destination\n"
    )
    assert peer.say("RCPT TO:<a@far.example>") == "554 5.7.1 <a@far.example>: Relay access denied\r\n"


def test_an_earlier_list_that_was_obeyed_at_its_time_knew_no_recipient() -> None:
    peer = greeted(f"smtpd_delay_reject = no\nsmtpd_sender_restrictions = {TABLE}\n")
    assert peer.say("RCPT TO:<a@rel.example>").startswith("250 ")


@pytest.mark.parametrize("parameter", ["smtpd_data_restrictions", "smtpd_end_of_data_restrictions"])
def test_later_lists_know_the_only_recipient(parameter: str) -> None:
    peer = greeted(f"{parameter} = {TABLE}\n")
    peer.say("RCPT TO:<a@rel.example>")
    assert "554 5.7.1 <a@rel.example>: Recipient address rejected:" in peer.say("DATA") + peer.say(".")
    peer = greeted(f"{parameter} = {TABLE}\n")
    peer.say("RCPT TO:<a@rel.example>", "RCPT TO:<b@rel.example>")
    assert peer.say("DATA").startswith("354") and peer.say(".").startswith("250")


def test_one_recipient_of_a_bounce_is_not_many() -> None:
    peer = Reception(f"{BASE}smtpd_data_restrictions = reject_multi_recipient_bounce\n").connect("192.0.2.10")
    peer.say("EHLO x", "MAIL FROM:<>", "RCPT TO:<a@rel.example>")
    assert peer.say("DATA").startswith("354")
