"""Queue files of Postfix hold what anybody has sent, and a disk may have damaged them. Invariant: a file is read, or it
is said why not; nothing else happens, no message has a line that ends by itself, and what was read can be stored.
"""

import contextlib
import io
from typing import BinaryIO, cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.rounds import rounds

from postwarden.cli.postcat_printer import Options, Printer, Refusal
from postwarden.mail.envelope import Envelope
from postwarden.spool.postfix_logs import parse
from postwarden.spool.postfix_queue import PostfixMessage, Unusable, read
from postwarden.spool.postfix_records import record

WORDS = (
    b"", b"0", b"1700000000 5", b"              0", b"a@x", b"\xff@x", b"a\nb", b"\r", b"\n.\r\n", b"=", b"9" * 5000,
    b"notify_flags=4", b"notify_flags=" + b"9" * 5000, b"dsn_orig_rcpt=rfc822;a+b", b"dsn_orig_rcpt=utf-8;\xc3\xbc",
    b"dsn_orig_rcpt=", b"trace_flags=1024", b"encoding=8bit", b"client_address=1.2.3.4", b"envelope_id=\xff",
    b"client_port=" + b"9" * 5000, b"ret_flags=1", b"Message-Id: <a>", b" folded", b"%15d" % 5,
)  # fmt: skip
texts = st.one_of(st.sampled_from(WORDS), st.binary(max_size=40))
attributes = st.tuples(st.just("A"), st.sampled_from([word for word in WORDS if b"=" in word]))
lines = st.tuples(st.just("N"), texts | st.sampled_from([b"x" * 127, b"x" * 128]))
parts = st.tuples(st.sampled_from("CTSRDO/WVA>KLNMXEpwFIfrePion\x00\xff"), texts)
files = st.one_of(
    st.binary(max_size=200),
    st.lists(parts, max_size=12).map(lambda found: b"".join(record(*part) for part in found)),
    st.tuples(st.lists(st.one_of(parts, attributes), max_size=6), st.lists(lines | parts, max_size=9)).map(
        lambda both: b"".join([
            record("C", b"1 1 1 0 1 0"), record("T", b"1700000000 5"), record("S", b"a@x"),
            *[record(*part) for part in both[0]], record("M", b""),
            *[record(*part) for part in both[1]], record("X", b""), record("E", b""),
        ])
    ),
)  # fmt: skip


def taken(file: BinaryIO, closed: frozenset[int]) -> PostfixMessage | str:
    try:
        return read(file, "ABC", closed)
    except Unusable as error:
        return str(error) or "?"


@settings(max_examples=rounds(300), deadline=None)
@given(files, st.frozensets(st.integers(0, 100), max_size=3), st.integers(1, 50))
def test_any_file(data: bytes, closed: frozenset[int], buffer: int) -> None:
    message = taken(io.BytesIO(data), closed)
    # Lines that are read many at a time are the same lines.
    assert taken(cast(BinaryIO, io.BufferedReader(io.BytesIO(data), buffer)), closed) == message
    if isinstance(message, str):
        return
    assert message.envelope.size == len(message.head) + len(message.body)
    assert message.head.count(b"\n") == message.head.count(b"\r\n")
    assert message.body.count(b"\n") == message.body.count(b"\r\n")
    assert len(message.offsets) == len(message.closed) == len(message.envelope.recipients)
    encoded = msgspec.msgpack.encode(message.envelope)
    assert msgspec.msgpack.decode(encoded, type=Envelope) == message.envelope


flags = st.tuples(*[st.booleans()] * 5)


@settings(max_examples=rounds(300), deadline=None)
@given(files, flags, st.integers(0, 50) | st.just(10**30))
def test_any_file_is_printed(data: bytes, chosen: tuple[bool, ...], start: int) -> None:
    body, envelope, header, verbose, raw = chosen
    out = io.BytesIO()
    everything = not (body or envelope or header)
    options = Options(
        "postcat", "", body or everything, envelope or everything, header or everything, True, True, False, raw,
        verbose, start,
    )  # fmt: skip
    printer = Printer(options, "file", io.BytesIO(data), out)
    with contextlib.suppress(Refusal), contextlib.redirect_stderr(io.StringIO()):
        printer.run()
    assert len(out.getvalue()) < 200_000 * 100


LINES = (
    b"offset=5", b"offset=" + b"9" * 5000, b"status=4.0.0", b"\n", b"\n\n", b"=", b"reason=\xff", b"a=b\n",
)  # fmt: skip


@given(st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(LINES)).map(b"\n".join)))
def test_any_log(data: bytes) -> None:
    for offset, logged in parse(data).items():
        assert offset == logged.offset and logged.status.action is not None
