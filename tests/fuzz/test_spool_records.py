"""Whoever owns a receiver can write any bytes into its segments, with right markers and right sums. Invariant: the
courier takes up what makes sense, can settle and put away all that it took, and never ends.
"""

import contextlib
import os
from pathlib import Path
from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.rounds import rounds

from postwarden.ipc.records import Stored
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.queue import HOLD, Change, Damaged, SpoolError
from postwarden.mail.status import Status
from postwarden.spool.layout import incoming, new_segment, spool_directory
from postwarden.spool.segment import MARKER_SIZE, Meta, head_line, seal_record
from postwarden.testing.spool import Spool, envelope

LATER = Status("4.4.1", "connection refused")
SENT = Status("2.0.0", "delivered")
NAME = new_segment(1_700_000_000, 1)

numbers = st.one_of(st.sampled_from([0, 1, -1, 2**53, 2**63 - 1, 2**63, 2**64 - 1]), st.integers(0, 10_000))
texts = st.one_of(st.sampled_from(["", "Q1", "../../etc/passwd", "0" * 32 + ".body", "\0", "é" * 300]), st.text())
floats = st.one_of(st.floats(), st.just(1.7e9))
envelopes = st.builds(
    Envelope, texts, floats, texts, st.lists(st.builds(Recipient, texts), max_size=3).map(tuple), numbers
)
whole = st.builds(Meta, st.just(envelope("Q1")), st.just("0" * 32 + ".body"), numbers, numbers)
bad_text = msgspec.msgpack.encode(Meta(envelope("Q1"))).replace(b"sender@", b"s\xff\xfe\x80er@")
metas = st.one_of(
    (st.builds(Meta, envelopes, texts, numbers, numbers) | whole).map(msgspec.msgpack.encode),
    st.just(bad_text),
    st.binary(),
)


def record(encoded: bytes, head: bytes, body: bytes, bad_length: int) -> bytes:
    """With right sums, whatever it says."""
    whole = seal_record(Meta(Envelope("", 0.0, "", (), 0)), head, len(body), crc32(body, crc32(head)))
    lengths = len(encoded).to_bytes(4) + whole[4:8] + (len(body) + bad_length).to_bytes(4) + whole[12:16]
    return NAME.marker + lengths + crc32(encoded, crc32(lengths)).to_bytes(4) + encoded + head + body


records = st.builds(record, metas, st.binary(max_size=20), st.binary(max_size=50), st.sampled_from([0, 0, 0, 1, 2**31]))


def holding(parts: list[bytes], root: Path) -> tuple[Path, Spool]:
    """A spool with one segment, and where that is."""
    directory = Path(incoming(spool_directory(str(root)), 1))
    directory.mkdir(parents=True)
    (directory / str(NAME)).write_bytes(head_line(NAME) + b"".join(parts))
    return directory, Spool(str(root))


@settings(max_examples=rounds(60), deadline=None)
@given(parts=st.lists(st.one_of(records, st.binary(max_size=40)), max_size=4))
def test_any_segment(parts: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    directory, spool = holding(parts, tmp_path_factory.mktemp("q"))
    ledger = spool.ledger()
    for n, entry in enumerate(ledger.recover()):
        with contextlib.suppress(Damaged, OSError):
            spool.body(ledger, entry)
        if n % 2 and entry.open:
            spool.settle(ledger, Change(entry.key, (), tuple((i, LATER) for i in entry.open), 5.0))
        else:
            spool.settle(ledger, Change(entry.key, tuple((i, SENT) for i in entry.open)))
    spool.sweep(ledger)
    assert list(directory.glob("*.segment")) == []
    for entry in ledger.due(10.0):
        spool.settle(ledger, Change(entry.key, tuple((i, SENT) for i in entry.open)))
    spool.close()


@settings(max_examples=rounds(60), deadline=None)
@given(parts=st.lists(st.one_of(records, st.binary(max_size=40)), max_size=4))
def test_any_segment_by_name(parts: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same, asked for by operators before anybody took it up."""
    _, spool = holding(parts, tmp_path_factory.mktemp("q"))
    ledger = spool.ledger()
    ledger.recover()
    page, _ = ledger.page((1, 0, 0, 0))
    for listed in page:
        with contextlib.suppress(Damaged, OSError):
            found = ledger.peek(listed.queue_id)
            if found is not None and found[1].fd >= 0:
                os.close(found[1].fd)
        listed.queue(listed.state())
        listed.envelope()
    for n, entry in enumerate(ledger.find([listed.queue_id for listed in page])):
        if n % 2:
            ledger.put_back(entry)
        else:
            spool.settle(ledger, Change(entry.key, due=HOLD, sites=("x.example",), warned=True))
    for entry in ledger.pick([listed.key for listed in page]):
        if entry.open:
            spool.settle(ledger, Change(entry.key, (), tuple((i, LATER) for i in entry.open), 5.0))
        else:
            ledger.put_back(entry)
    spool.sweep(ledger)
    for entry in [*ledger.due(10.0), *ledger.find([listed.queue_id for listed in page])]:
        spool.settle(ledger, Change(entry.key, tuple((i, SENT) for i in entry.open)))
    spool.close()


@settings(max_examples=rounds(60), deadline=None)
@given(
    told=st.lists(
        st.builds(
            Stored, st.just(NAME.number), numbers, numbers, envelopes, st.binary(max_size=9),
            st.one_of(st.none(), st.binary(max_size=9)), texts, numbers, numbers,
        ),
        max_size=4,
    )
)  # fmt: skip
def test_any_word_of_a_receiver(told: list[Stored], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("q")
    directory = Path(incoming(spool_directory(str(root)), 1))
    directory.mkdir(parents=True)
    (directory / str(NAME)).write_bytes(head_line(NAME))
    spool = Spool(str(root))
    ledger = spool.ledger()
    list(ledger.recover())
    for stored in told:
        try:
            entry = ledger.take(stored, 1)
        except SpoolError:
            continue
        if entry is not None:
            spool.settle(ledger, Change(entry.key, (), tuple((i, LATER) for i in entry.open), 5.0))
    ledger.due(10.0)
    spool.sweep(ledger)
    spool.close()


def test_the_marker_is_where_the_records_say() -> None:
    assert len(NAME.marker) == MARKER_SIZE
