import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.receive.content import HEAD_LIMIT, Intake, mark_from_lines, split_head
from postwarden.testing.clock import VirtualClock
from postwarden.testing.spool import MemoryDraft, MemoryStore
from postwarden.wire.data import normalize


def taken_in(data: bytes, step: int = 0) -> tuple[bytes, bytes, Intake]:
    draft = MemoryDraft(MemoryStore(VirtualClock().call_soon))
    intake = Intake(draft)
    step = step or len(data) or 1
    for at in range(0, len(data), step):
        intake.write(data[at : at + step])
    intake.finish()
    return intake.head, draft._body, intake


@pytest.mark.parametrize(
    ("data", "head", "body"),
    [
        (b"", b"", b""),
        (b"\r\n", b"\r\n", b""),
        (b"\r\nx\r\n", b"\r\n", b"x\r\n"),
        (b"A: b\r\n", b"A: b\r\n", b""),
        (b"A: b\r\n\r\n", b"A: b\r\n\r\n", b""),
        (b"A: b\r\n c\r\n\r\nx\r\n", b"A: b\r\n c\r\n\r\n", b"x\r\n"),
        (b"A : b\r\n\r\n", b"A : b\r\n\r\n", b""),
        (b"x\r\n", b"\r\n", b"x\r\n"),
        (b"A: b\r\nno header\r\nC: d\r\n\r\nx\r\n", b"A: b\r\n\r\n", b"no header\r\nC: d\r\n\r\nx\r\n"),
        (b"A: b\r\nFrom x\r\n\r\nx\r\n", b"A: b\r\n\r\n", b"From x\r\n\r\nx\r\n"),
        (b"From x\r\nA: b\r\n\r\n", b"X-Mailbox-Line: From x\r\nA: b\r\n\r\n", b""),
        (b": b\r\n", b"\r\n", b": b\r\n"),
        (b"A\xc3: b\r\n", b"\r\n", b"A\xc3: b\r\n"),
        (b"A: b\r\n \r\nB: c\r\n\r\n", b"A: b\r\n \r\nB: c\r\n\r\n", b""),
    ],
)
def test_the_cut(data: bytes, head: bytes, body: bytes) -> None:
    assert taken_in(data)[:2] == (head, body)
    assert taken_in(data, 1)[:2] == (head, body)


def test_a_first_line_that_would_continue_our_received_header_is_body() -> None:
    assert taken_in(b" for <someone@else.example>; today\r\nA: b\r\n")[0] == b"\r\n"


lines = st.lists(st.sampled_from((b"A: b", b" c", b"", b"x", b"From y", b">From", b"\xff: z", b"B :")), max_size=12)


@given(lines, st.integers(1, 9))
def test_pieces_change_nothing_and_no_line_is_lost(given_lines: list[bytes], step: int) -> None:
    data = b"".join(line + b"\r\n" for line in given_lines)
    head, body, intake = taken_in(data, step)
    assert (head, body) == taken_in(data)[:2]
    assert intake.size == len(data) and intake.body_size == len(body)
    marked = mark_from_lines(data)
    assert head + body == marked or (head.endswith(b"\r\n") and head[:-2] + body == marked)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    data = normalize(data)
    head, body = split_head(data)
    assert head + body == data or head[:-2] + body == data


def test_a_head_without_end_does_not_pile_up() -> None:
    """What is over the limit goes to the spool as it comes; the message stays whole."""
    draft = MemoryDraft(MemoryStore(VirtualClock().call_soon))
    intake = Intake(draft)
    line = b"A: " + b"x" * 997 + b"\r\n"
    count = 3 * HEAD_LIMIT // len(line)
    for _ in range(count):
        intake.write(line)
    assert len(intake.head) <= HEAD_LIMIT + len(line)
    intake.finish()
    assert intake.head + draft._body == line * count


def test_too_big_keeps_nothing() -> None:
    draft = MemoryDraft(MemoryStore(VirtualClock().call_soon))
    intake = Intake(draft)
    intake.write(b"A: b\r\n")
    intake.give_up()
    intake.write(b"x" * 100)
    intake.finish()
    assert intake.size == 106 and intake.head == b"" and draft._body == b""


def test_eight_bit_is_seen() -> None:
    assert taken_in("A: ü\r\n".encode())[2].eight_bit
    assert not taken_in(b"A: u\r\n")[2].eight_bit


def test_many_from_lines_cost_no_more_than_their_length() -> None:
    def cost(lines: int) -> float:
        data = b"From \r\n" * lines
        began = time.process_time()
        assert len(mark_from_lines(data)) == lines * 23
        return time.process_time() - began

    assert cost(1 << 18) < 30 * max(cost(1 << 15), 0.01)
