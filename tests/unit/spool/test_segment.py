import os
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postwarden.spool.layout import SegmentName
from postwarden.spool.segment import HEAD_SIZE, Gap, Meta, Record, Segment, head_line, seal_record
from postwarden.testing.spool import envelope

NAME = SegmentName(1 << 50, b"markmark")


def record(queue_id: str, body: bytes, head: bytes = b"H: x\r\n\r\n") -> bytes:
    meta = Meta(envelope(queue_id, head, body))
    return NAME.marker + seal_record(meta, head, len(body), crc32(body, crc32(head))) + head + body


def segment(path: Path, data: bytes) -> Segment:
    file = path / str(NAME)
    file.write_bytes(data)
    return Segment(str(file), NAME)


def scan(file: Segment, *, writing: bool = False) -> list[Record | Gap]:
    return list(file.scan(HEAD_SIZE, file.size(), writing=writing))


def ids(found: list[Record | Gap]) -> list[str]:
    return [f.meta.envelope.queue_id if isinstance(f, Record) else "gap" for f in found]


BODIES = [b"one\r\n", b"", b"three\r\n" * 1000, NAME.marker * 3, b"five"]
RECORDS = [record(f"Q{n}", body) for n, body in enumerate(BODIES)]
WHOLE = head_line(NAME) + b"".join(RECORDS)


def test_records_read_back(tmp_path: Path) -> None:
    file = segment(tmp_path, WHOLE)
    found = scan(file)
    assert ids(found) == ["Q0", "Q1", "Q2", "Q3", "Q4"]
    for item, body, encoded in zip(found, BODIES, RECORDS, strict=True):
        assert isinstance(item, Record)
        assert item.length == len(encoded)
        assert file.content(item) == (b"H: x\r\n\r\n", body)


def test_head_line_is_for_people() -> None:
    assert len(head_line(NAME)) == HEAD_SIZE
    assert head_line(NAME).startswith(b"postwarden segment 1 ")
    assert head_line(NAME).endswith(b"\n")


@pytest.mark.parametrize("cut", range(1, len(RECORDS[4]) + 1, 7))
def test_torn_tail(tmp_path: Path, cut: int) -> None:
    file = segment(tmp_path, WHOLE[: len(WHOLE) - cut])
    assert ids(scan(file, writing=True)) == ["Q0", "Q1", "Q2", "Q3"]
    sealed = ids(scan(file))
    assert sealed[:4] == ["Q0", "Q1", "Q2", "Q3"]
    assert sealed[4:] in ([], ["gap"])


@settings(max_examples=300, deadline=None)
@given(start=st.integers(0, len(WHOLE)), size=st.integers(1, 5000), fill=st.sampled_from([0, 255, 80]))
def test_damage_costs_what_lies_on_it_and_no_more(
    tmp_path_factory: pytest.TempPathFactory, start: int, size: int, fill: int
) -> None:
    size = min(size, len(WHOLE) - start)
    data = WHOLE[:start] + bytes([fill]) * size + WHOLE[start + size :]
    file = segment(tmp_path_factory.mktemp("s"), data)
    try:
        intact, at = [], HEAD_SIZE
        for n, encoded in enumerate(RECORDS):
            if data[at : at + len(encoded)] == encoded:
                intact.append(f"Q{n}")
            at += len(encoded)
        found = scan(file)
        good = [f for f in found if isinstance(f, Record) and file.content(f) is not None]
        assert [f.meta.envelope.queue_id for f in good] == intact
        # Records and gaps cover the file without overlap.
        at = HEAD_SIZE
        for item in found:
            first, last = (
                (item.offset, item.offset + item.length) if isinstance(item, Record) else (item.start, item.stop)
            )
            assert first == at
            at = last
        assert at == file.size()
    finally:
        file.close()


def test_a_body_can_not_plant_a_record(tmp_path: Path) -> None:
    """Its writer would need the marker; with another marker even a perfect record is body text."""
    planted = RECORDS[0].replace(NAME.marker, b"guessed!")
    carrier = record("Q0", planted + planted)
    data = bytearray(head_line(NAME) + carrier + record("Q9", b"after"))
    data[HEAD_SIZE : HEAD_SIZE + 8] = bytes(8)
    assert ids(scan(segment(tmp_path, bytes(data)))) == ["gap", "Q9"]


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=400), marked=st.booleans())
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes, marked: bool) -> None:
    file = segment(tmp_path_factory.mktemp("s"), head_line(NAME) + (NAME.marker if marked else b"") + data)
    try:
        assert all(isinstance(item, Gap) for item in scan(file))
    finally:
        file.close()


def test_marker_across_the_reading_step(tmp_path: Path) -> None:
    """The search reads 256 KiB at a time; a marker may lie on the seam."""
    for shift in (0, 1, 7, 8, 9):
        junk = b"j" * ((256 << 10) - shift)
        file = segment(tmp_path, head_line(NAME) + junk + RECORDS[0])
        assert ids(scan(file)) == ["gap", "Q0"]
        file.close()
        os.unlink(file.path)
