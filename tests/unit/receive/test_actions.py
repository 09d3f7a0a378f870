"""Actions of access tables that let a message in, and do something else with it."""

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


def test_what_is_to_be_held_does_not_go_through() -> None:
    made = Reception(MAIN_CF)
    peer = greeted(made)
    assert peer.say("RCPT TO:<h@rel.example>") == "451 4.3.5 Server configuration error: HOLD is not available\r\n"
    assert peer.say("DATA") == "554 5.5.1 Error: no valid recipients\r\n"
    assert "reject: RCPT" in made.log[-1]


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
