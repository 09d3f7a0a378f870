"""How long a session waits: for a client that drips, and for an answer of our own side that never comes."""

from collections.abc import Callable

from postwarden.testing.reception import ZONE, Reception

MAIN_CF = "mydestination = example.com\nlocal_recipient_maps =\n"
BEGIN = ("EHLO client.example", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.com>")


def reception(**parameters: str) -> Reception:
    return Reception(MAIN_CF + "smtpd_timeout = 100s\nipc_timeout = 1000s\n", config=None, zone=ZONE, **parameters)


def test_a_commit_that_never_comes_ends_the_session_and_not_with_250() -> None:
    gateway = reception()
    peer = gateway.connect()
    peer.say(*BEGIN, "DATA")
    never: list[Callable[[], None]] = []
    gateway.store.post = never.append
    assert peer.say("Subject: x", "", "text", ".") == ""
    gateway.clock.advance(1099)
    assert not peer.closed and peer.hear() == ""
    gateway.clock.advance(2)
    assert peer.closed and peer.hear() == "421 4.3.0 mx.example.com Error: internal error\r\n"
    assert not gateway.service.sessions
    assert "no answer from our own side for END-OF-MESSAGE: given up" in "\n".join(gateway.log)
    never[0]()
    gateway.clock.run()


def test_the_name_of_a_client_that_never_comes_ends_the_session() -> None:
    gateway = reception()
    gateway.service.names.verify = lambda address, done: None  # type: ignore[method-assign]
    peer = gateway.connect("192.0.2.10")
    gateway.clock.advance(1101)
    assert peer.closed and not gateway.service.sessions
    assert "session with 192.0.2.10: no answer" in gateway.log[-1]


def test_a_session_that_has_waited_once_may_wait_again() -> None:
    gateway = reception()
    peer = gateway.connect()
    late: list[Callable[[], None]] = []
    gateway.store.post = late.append
    for _ in range(20):
        peer.say(*BEGIN, "DATA")
        peer.say("Subject: x", "", "text", ".")
        gateway.clock.advance(900)
        late.pop()()
        gateway.clock.run()
        assert "queued as" in peer.hear()


def test_a_command_that_drips_in_may_take_its_time_by_default() -> None:
    peer = reception().connect()
    for byte in b"EHLO x\r\n":
        assert not peer.closed
        answer = peer.say(bytes([byte]))
        peer.clock.advance(90)
    assert "250" in answer


def test_a_command_that_drips_in_has_one_deadline_where_that_is_asked_for() -> None:
    peer = reception(smtpd_per_request_deadline="yes").connect()
    peer.hear()
    for byte in b"EHLO x\r\n":
        peer.clock.advance(40)
        peer.say(bytes([byte]))
    assert peer.closed


def test_under_stress_requests_have_a_deadline() -> None:
    gateway = reception(postwarden_session_limit="12")
    *_, calm, stressed = [gateway.connect() for _ in range(11)]
    for _ in range(3):
        gateway.clock.advance(40)
        calm.say(b"E")
        stressed.say(b"E")
    assert stressed.closed and not calm.closed


def test_commands_that_come_in_time_have_a_deadline_each() -> None:
    peer = reception(smtpd_per_request_deadline="yes", smtpd_junk_command_limit="1000").connect()
    for _ in range(50):
        assert "250" in peer.say("RSET")
        peer.clock.advance(90)


def test_content_earns_time_by_its_bytes() -> None:
    peer = reception(smtpd_per_request_deadline="yes", smtpd_min_data_rate="10").connect()
    peer.say(*BEGIN, "DATA")
    for _ in range(50):
        peer.say(b"x" * 798 + b"\r\n")
        peer.clock.advance(79)
    assert not peer.closed
    for _ in range(10):
        peer.say(b"x" * 98 + b"\r\n")
        peer.clock.advance(40)
    assert peer.closed


def test_content_never_earns_more_than_the_time_limit() -> None:
    peer = reception(smtpd_per_request_deadline="yes", smtpd_min_data_rate="1").connect()
    peer.say(*BEGIN, "DATA")
    peer.say(b"x" * 9998 + b"\r\n")
    peer.clock.advance(99)
    assert not peer.closed
    peer.clock.advance(2)
    assert peer.closed
