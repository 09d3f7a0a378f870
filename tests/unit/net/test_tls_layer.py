"""TLS by memory, both ends of it."""

import ssl
from pathlib import Path

import pytest

from postwarden.net.tls_layer import TlsLayer
from postwarden.testing.certificate import write_certificate


@pytest.fixture
def server(tmp_path: Path) -> ssl.SSLContext:
    write_certificate(tmp_path / "pem", "mx.example.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    return context


def client(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = version
    return context


def shaken(server: ssl.SSLContext, version: ssl.TLSVersion) -> tuple[TlsLayer, TlsLayer]:
    """Both ends after the handshake; what the server still owes has been handed over."""
    near, far = TlsLayer(client(version), server_side=False), TlsLayer(server, server_side=True)
    near_over = far_over = False
    flight = b""
    while not far_over:
        near_over = near.handshake(flight)
        far_over = far.handshake(near.take())
        flight = far.take() if not far_over or far.owes else b""
    assert near_over or near.handshake(flight)
    return near, far


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_ways(server: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    near, far = shaken(server, version)
    assert far.decrypt(near.encrypt(b"EHLO x\r\n")) == b"EHLO x\r\n"
    assert near.decrypt(far.encrypt(b"250 ok\r\n")) == b"250 ok\r\n"
    assert near.facts.protocol == version.name.replace("_", ".") == far.facts.protocol


def test_tickets_leave_with_the_first_reply(server: ssl.SSLContext) -> None:
    _, far = shaken(server, ssl.TLSVersion.TLSv1_3)
    tickets = len(far.encrypt(b"250 ok\r\n"))
    assert tickets > len(far.encrypt(b"250 ok\r\n")) + 100


def test_what_waits_for_a_reply_does_not_grow_with_no_end(server: ssl.SSLContext) -> None:
    _, far = shaken(server, ssl.TLSVersion.TLSv1_3)
    assert not far.full, "tickets wait"
    server.num_tickets = 40
    _, far = shaken(server, ssl.TLSVersion.TLSv1_3)
    assert far.full
    assert far.take() and not far.full


def test_the_last_words_and_the_end_are_one_flight(server: ssl.SSLContext) -> None:
    near, far = shaken(server, ssl.TLSVersion.TLSv1_3)
    assert near.decrypt(far.encrypt(b"221 bye\r\n") + far.finish()) == b"221 bye\r\n"
    assert near.finished


def test_text_in_pieces(server: ssl.SSLContext) -> None:
    near, far = shaken(server, ssl.TLSVersion.TLSv1_3)
    text = bytes(range(256)) * 400
    sealed = near.encrypt(text)
    assert b"".join(far.decrypt(sealed[at : at + 1000]) for at in range(0, len(sealed), 1000)) == text
    assert far.decrypt(b"") == b""


def test_a_forged_record_is_an_error_with_an_alert(server: ssl.SSLContext) -> None:
    near, far = shaken(server, ssl.TLSVersion.TLSv1_3)
    far.take()
    sealed = bytearray(near.encrypt(b"MAIL FROM:<>\r\n"))
    sealed[-1] ^= 1
    with pytest.raises(ssl.SSLError):
        far.decrypt(bytes(sealed))
    assert far.take()


def test_plain_text_is_no_handshake(server: ssl.SSLContext) -> None:
    far = TlsLayer(server, server_side=True)
    with pytest.raises(ssl.SSLError):
        far.handshake(b"EHLO in.the.clear\r\n")
