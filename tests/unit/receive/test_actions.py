"""Actions of access tables that let a message in, and do something else with it."""

import pytest

from postwarden.testing.reception import Peer, Reception

MAIN_CF = """mynetworks = 127.0.0.0/8
relay_domains = rel.example
relay_recipient_maps =
smtpd_recipient_restrictions = check_recipient_access inline:{{h@rel.example=HOLD} {d@rel.example=DISCARD}
  {t@rel.example=DISCARD this text}}
"""


def greeted(made: Reception) -> Peer:
    peer = made.connect("192.0.2.10")
    peer.say("EHLO x", "MAIL FROM:<s@far.example>")
    return peer


def test_what_is_to_be_held_is_stored_as_such() -> None:
    made = Reception(MAIN_CF)
    peer = greeted(made)
    assert peer.say("RCPT TO:<h@rel.example>") == "250 2.1.5 Ok\r\n"
    assert (
        "smtpd: NOQUEUE: hold: RCPT from client.example.net[192.0.2.10]: <h@rel.example>: Recipient address triggers"
        " HOLD action; from=<s@far.example> to=<h@rel.example> proto=ESMTP helo=<x>"
    ) in made.log
    assert "250 2.0.0 Ok: queued as" in peer.say("DATA") + peer.say(".")
    ((envelope, _, _),) = made.store.messages
    assert envelope.hold


def test_the_next_message_is_not_held() -> None:
    made = Reception(MAIN_CF)
    peer = greeted(made)
    peer.say("RCPT TO:<h@rel.example>", "RSET", "MAIL FROM:<s@far.example>", "RCPT TO:<n@rel.example>", "DATA")
    peer.say(".")
    assert [envelope.hold for envelope, _, _ in made.store.messages] == [False]


@pytest.mark.parametrize("stage", ["sender", "data", "end_of_data"])
def test_each_stage_of_a_message_can_hold_it(stage: str) -> None:
    restriction = f"smtpd_{stage}_restrictions = check_sender_access inline:{{s@far.example=HOLD}}\n"
    made = Reception(f"smtpd_delay_reject = no\n{restriction}{MAIN_CF}")
    peer = greeted(made)
    assert "250 2.0.0 Ok: queued as" in peer.say("RCPT TO:<n@rel.example>", "DATA") + peer.say(".")
    assert [envelope.hold for envelope, _, _ in made.store.messages] == [True]


def test_what_is_discarded_is_logged_and_not_stored() -> None:
    for recipient, text in (("d", "triggers DISCARD action"), ("t", "this text")):
        made = Reception(MAIN_CF)
        peer = greeted(made)
        assert peer.say(f"RCPT TO:<{recipient}@rel.example>") == "250 2.1.5 Ok\r\n"
        assert (
            f"smtpd: NOQUEUE: discard: RCPT from client.example.net[192.0.2.10]: <{recipient}@rel.example>: Recipient"
            f" address {text}; from=<s@far.example> to=<{recipient}@rel.example> proto=ESMTP helo=<x>"
        ) in made.log
        assert "250 2.0.0 Ok: queued as" in peer.say("DATA") + peer.say(".")
        assert made.store.messages == []
