import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.spool.postfix_records import BACKWARDS, BadRecord, Record, RecordReader, kind_name, record, shown

kinds = st.characters(min_codepoint=1, max_codepoint=255)


@given(st.lists(st.tuples(st.sampled_from("CTSRANLMXw"), st.binary(max_size=300))))
def test_what_is_written_is_read(parts: list[tuple[str, bytes]]) -> None:
    reader = RecordReader(io.BytesIO(b"".join(record(*part) for part in parts)))
    found = []
    while (one := reader.next()) is not None:
        found.append((one.kind, one.data))
    assert found == parts


@pytest.mark.parametrize(("size", "head"), [(0, "4e00"), (127, "4e7f"), (128, "4e8001"), (16384, "4e808001")])
def test_lengths(size: int, head: str) -> None:
    assert record("N", b"x" * size).startswith(bytes.fromhex(head))
    assert RecordReader(io.BytesIO(record("N", b"x" * size))).next() == Record(0, "N", b"x" * size)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"N\x05abc", "unexpected EOF in data, record type 78 length 5"),
        (b"N", "unexpected EOF reading length, record type 78"),
        (b"N\x80", "unexpected EOF reading length, record type 78"),
        (b"N\x80\x80\x80\x80\x80\x01", "too many length bits, record type 78"),
        (b"N\xff\xff\xff\xff\x0f", "illegal length -1, record type 78"),
        (b"N\xff\xff\xff\xff\x07a", "unexpected EOF in data, record type 78 length 2147483647"),
    ],
)
def test_damage_is_named_in_postfix_s_words(data: bytes, text: str) -> None:
    with pytest.raises(BadRecord) as error:
        RecordReader(io.BytesIO(data)).next()
    assert str(error.value) == text


def records(data: bytes) -> list[tuple[str, bytes]]:
    return [(one.kind, one.data) for one in RecordReader(io.BytesIO(data))]


def test_pointers_lead_to_what_was_added_and_back() -> None:
    front = record("S", b"a") + record("p", b"%15d" % 26)
    back = record("R", b"b") + record("E", b"")
    added = record("R", b"c") + record("p", b"%15d" % len(front))
    assert len(front) + len(back) == 25
    data = front + back + b"\0" + added
    assert records(data) == [("S", b"a"), ("R", b"c"), ("R", b"b"), ("E", b"")]


def test_padding_killed_records_and_idle_pointers_do_not_count() -> None:
    data = record("w", b"0") + record("K", b"trace_flags=1024") + record("p", b"0") + record("E", b"") + b"junk"
    assert records(data) == [("E", b"")]


@pytest.mark.parametrize("value", [b"abc", b"", b"-5", b"9" * 30, b"1x"])
def test_a_pointer_that_is_none(value: bytes) -> None:
    with pytest.raises(BadRecord, match="malformed pointer"):
        records(record("p", value))


def test_a_file_that_leads_in_a_circle_ends() -> None:
    loop = record("S", b"") + record("p", b"%15d" % 2) + record("N", b"x" * 10)
    data = record("S", b"") + record("p", b"%15d" % 2)
    with pytest.raises(BadRecord, match="too many reverse jump"):
        records(data)
    with pytest.raises(BadRecord, match="too many reverse jump"):
        records(loop)
    assert BACKWARDS < 100_000


def test_texts_end_at_a_nul_and_are_shown_without_controls() -> None:
    assert Record(0, "S", b"a\0b").text == b"a"
    assert shown(b"a\x07\xffb\xc3\xbc") == "a??bü"
    assert kind_name("R") == "recipient" and kind_name("\x01") == "unknown_record_type"
