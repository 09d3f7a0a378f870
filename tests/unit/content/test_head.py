import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.content.head import Scanner, cut_to, fields, name_of, rejoin, with_fields

SCANNER = Scanner((b"from", b"message-id", b"date", b"received", b"resent-from", b"to", b"x-drop"))
LINES = st.sampled_from(
    [b"From: a", b"MESSAGE-ID: <x>", b"Message-Id :<y>", b" folded", b"\tx", b"Subject: : s", b"X:", b"Received: r",
     b"resent-from: q", b"x-drop\t: d"]
)  # fmt: skip
HEADS = st.lists(LINES, max_size=12).map(lambda lines: b"".join(line + b"\r\n" for line in [b"X-First: 1", *lines]))


def test_names_are_found_in_any_case_and_only_at_the_start_of_a_field() -> None:
    look = SCANNER.look(b"FROM: a\r\n Date: no\r\nY-To: b\r\nSubject: message-id: no\r\nto :x\r\n\r\n")
    assert {b"from", b"to"} <= look.names
    assert not {b"date", b"message-id", b"y-to"} & look.names
    assert look.head.endswith(b"\r\nto:x\r\n\r\n")


def test_a_head_that_needs_nothing_is_the_same_object() -> None:
    head = b"From: a\r\nSubject: no :( smile\r\n\r\n"
    assert SCANNER.look(head).head is head


def test_hops_and_resent() -> None:
    look = SCANNER.look(b"Received: 1\r\nreceived: 2\r\n Received: folded\r\n\r\n")
    assert (look.hops, look.resent) == (2, False)
    assert SCANNER.look(b"Resent-From: a\r\n\r\n").resent


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"Message-ID: <a@b>\r\n\r\n", [("message-id", "<a@b>")]),
        (b"Message-ID:\r\n <a@b>\r\nX: y\r\n\r\n", [("message-id", "<a@b>")]),
        (b"message-id:<a@b> (c)\r\n\tmore\r\n", [("message-id", "<a@b> (c)\n\tmore")]),
        (
            b"Resent-Message-Id: <r>\r\nResent-From: x\r\nMessage-Id: <1>\r\nMessage-Id: <2>\r\n",
            [("resent-message-id", "<r>"), ("message-id", "<1>"), ("message-id", "<2>")],
        ),
        (b"Message-Id: \xff\r\n", [("message-id", "\ufffd")]),
    ],
)
def test_message_ids(head: bytes, found: list[tuple[str, str]]) -> None:
    scanner = Scanner((b"message-id", b"resent-message-id", b"resent-from"))
    assert scanner.look(head).message_ids() == found


def test_a_field_is_cut_line_by_line() -> None:
    assert cut_to(b"X: abcdef\r\n ghi\r\n jkl\r\n", 12) == b"X: abcdef\r\n g\r\n"
    assert cut_to(b"X: abc\r\n", 100) == b"X: abc\r\n"


def test_fields_are_added_before_the_empty_line() -> None:
    assert with_fields(b"A: 1\r\n\r\n", ["B: 2"]) == b"A: 1\r\nB: 2\r\n\r\n"
    assert with_fields(b"A: 1\r\n", ["B: 2"]) == b"A: 1\r\nB: 2\r\n"
    assert with_fields(b"\r\n", ["B: 2"]) == b"B: 2\r\n\r\n"
    assert with_fields(b"", ["B: 2"]) == b"B: 2\r\n"


@given(HEADS, st.sampled_from([b"", b"\r\n"]))
def test_what_is_taken_apart_can_be_put_together(head: bytes, end: bytes) -> None:
    assert rejoin(head + end, fields(head + end)) == head + end


@given(HEADS)
def test_the_scan_finds_what_taking_it_apart_finds(head: bytes) -> None:
    look = SCANNER.look(head + b"\r\n")
    every = [(name_of(field), field) for field in fields(look.head)]
    assert look.hops == [name for name, _ in every].count(b"received")
    for name in (b"from", b"message-id", b"resent-from", b"x-drop", b"date"):
        assert [field for _, field in look.find(name)] == [field for other, field in every if other == name]
        assert (name in look.names) == any(other == name for other, _ in every)
    assert not re.search(rb"(?m)^[!-9;-~]+[ \t]+:", look.head)
