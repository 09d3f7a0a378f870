import ssl

import pytest

from postwarden.testing.clock import VirtualClock
from postwarden.testing.stream import FAKE_TLS, Recorder, connect

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def joined(**options: int) -> tuple[VirtualClock, Recorder, Recorder]:
    clock, near, far = VirtualClock(), Recorder(), Recorder()
    connect(near, far, clock, **options)  # type: ignore[arg-type]
    clock.run()
    return clock, near, far


@pytest.mark.parametrize("chunk", [0, 1, 3])
def test_bytes_arrive_whole_and_in_order(chunk: int) -> None:
    clock, near, far = joined(chunk=chunk)
    near.stream.write(b"hello ")
    near.stream.write(b"world")
    assert far.take() == b""
    clock.run()
    assert far.take() == b"hello world"


def test_a_paused_end_takes_nothing_and_the_writer_hears_of_it() -> None:
    clock, near, far = joined(high_water=10)
    far.stream.pause()
    near.stream.write(b"x" * 11)
    clock.run()
    assert near.is_congested and far.take() == b""
    far.stream.resume()
    clock.run()
    assert not near.is_congested and far.take() == b"x" * 11


def test_close_sends_what_was_written_first() -> None:
    clock, near, far = joined(chunk=2)
    near.stream.write(b"last words")
    near.stream.close()
    near.stream.write(b"too late")
    clock.run()
    assert far.take() == b"last words"
    assert far.has_ended and not far.is_closed
    assert near.is_closed and near.reason is None


def test_abort_drops_what_is_on_its_way() -> None:
    clock, near, far = joined()
    near.stream.write(b"lost")
    near.stream.abort()
    clock.run()
    assert far.take() == b"" and isinstance(far.reason, ConnectionResetError)


def test_a_handshake_needs_both() -> None:
    clock, near, far = joined()
    near.stream.start_tls(CONTEXT, server_side=False)
    clock.run()
    assert near.secured_with is None
    far.stream.start_tls(CONTEXT, server_side=True)
    clock.run()
    assert near.secured_with == far.secured_with == FAKE_TLS


def test_plain_text_breaks_a_handshake() -> None:
    clock, near, far = joined()
    far.stream.start_tls(CONTEXT, server_side=True)
    near.stream.write(b"EHLO x\r\n")
    clock.run()
    assert isinstance(far.reason, ssl.SSLError) and isinstance(near.reason, ssl.SSLError)
