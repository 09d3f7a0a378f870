"""A session that waits for an address to be verified, and how long it does."""

from postwarden.mail.probe_sender import ProbeSender
from postwarden.mail.verified import BOUNCE, OK, Verified
from postwarden.testing.reception import Reception
from postwarden.testing.verifier import FakeVerifier

LISTS = {
    "local_recipient_maps": "",
    "smtpd_relay_restrictions": "reject_unauth_destination",
    "smtpd_recipient_restrictions": "reject_unverified_recipient",
    "unverified_recipient_reject_code": "550",
}
ANN, NOBODY, EVE = "ann@mx.example.com", "nobody@mx.example.com", "eve@mx.example.com"


def test_a_session() -> None:
    verifier = FakeVerifier({ANN: Verified(OK, "250 Ok"), NOBODY: Verified(BOUNCE, "host inside said: 550 no")})
    gateway = Reception(**LISTS, verifier=verifier)
    peer = gateway.connect()
    peer.say("HELO there", "MAIL FROM:<>")
    said = peer.say(f"RCPT TO:<{NOBODY}>", f"RCPT TO:<{ANN}>", f"RCPT TO:<{EVE}>", "RCPT TO:<postmaster>")
    text = "Recipient address rejected: undeliverable address: host inside said: 550 no"
    assert said.splitlines() == [
        f"550 5.1.1 <{NOBODY}>: {text}",
        "250 2.1.5 Ok",
        f"450 4.1.1 <{EVE}>: Recipient address rejected: unverified address: Address verification in progress",
        "250 2.1.5 Ok",
    ]
    start = "reject: RCPT from localhost[127.0.0.1]: 550 5.1.1"
    assert any(f"{start} <{NOBODY}>: {text}; from=<> to=<{NOBODY}>" in line for line in gateway.log)
    assert [address for address, _ in verifier.asked] == [NOBODY, ANN, EVE]


def test_nobody_to_ask_is_said_in_the_log() -> None:
    gateway = Reception(**LISTS)
    peer = gateway.connect()
    peer.say("HELO there", "MAIL FROM:<>")
    assert peer.say(f"RCPT TO:<{ANN}>").endswith("Recipient address rejected: address verification problem\r\n")
    assert "smtpd: warning: verify service failure" in gateway.log


def test_under_stress_a_client_waits_for_less() -> None:
    verifier = FakeVerifier({})
    gateway = Reception(**LISTS, default_process_limit="10", verifier=verifier)
    *_, calm, stressed = [gateway.connect() for _ in range(10)]
    for peer in (calm, stressed):
        peer.say("HELO there", "MAIL FROM:<>", f"RCPT TO:<{ANN}>")
    assert [seconds for _, seconds in verifier.asked] == [6.0, 0.0]


def test_mail_to_the_sender_of_probes_is_for_the_address_without_the_time() -> None:
    gateway = Reception(**LISTS, address_verify_sender="prober@far.example", address_verify_sender_ttl="1h")
    sender = ProbeSender("prober@far.example", 3600).at(gateway.clock.now())
    assert sender != "prober@far.example"
    peer = gateway.connect()
    peer.say("HELO there", "MAIL FROM:<eve@far.example>", f"RCPT TO:<{sender}>", "DATA", "Subject: x", "", ".")
    ((envelope, _, _),) = gateway.store.messages
    assert [recipient.address for recipient in envelope.recipients] == ["prober@far.example"]
