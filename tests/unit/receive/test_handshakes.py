"""Handshakes of implicit TLS count as sessions do."""

import ssl

from postwarden.receive.handshakes import Handshakes
from postwarden.testing.reception import Reception


def test_handshakes_and_sessions_share_one_limit() -> None:
    made = Reception(postwarden_session_limit="3")
    gate = Handshakes(made.service)
    made.connect()
    assert gate.begins("192.0.2.10") and gate.begins("192.0.2.11")
    assert not gate.begins("192.0.2.12")
    assert "421 4.3.2" in made.connect().hear()
    assert "has reached its limit of 3 sessions" in "\n".join(made.log)
    gate.ends("192.0.2.10", None, secured=True)
    assert "220 " in made.connect().hear()
    assert not gate.begins("192.0.2.12")
    assert gate.open == 1


def test_a_client_has_no_more_handshakes_than_connections() -> None:
    made = Reception(smtpd_client_connection_count_limit="2", mynetworks="127.0.0.0/8")
    gate = Handshakes(made.service)
    assert gate.begins("192.0.2.10") and gate.begins("192.0.2.10")
    assert not gate.begins("192.0.2.10")
    assert gate.begins("192.0.2.11")
    assert [gate.begins("127.0.0.1") for _ in range(5)] == [True] * 5, "one of our own network has no limit"
    assert made.log == [
        "smtpd: warning: Connection concurrency limit exceeded: 3 from unknown[192.0.2.10] for service smtp"
    ]
    gate.ends("192.0.2.10", None, secured=True)
    assert gate.begins("192.0.2.10")


def test_a_handshake_that_fails_is_counted_off_and_logged() -> None:
    made = Reception(postwarden_session_limit="1")
    gate = Handshakes(made.service)
    for _ in range(3):
        assert gate.begins("fe80::1%eth0")
        gate.ends("fe80::1%eth0", ssl.SSLError("no shared cipher"), secured=False)
    assert made.log == ["smtpd: SSL_accept error from unknown[fe80::1]: ('no shared cipher',)"] * 3
    assert "220 " in made.connect().hear()
