import contextlib
import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.cli.sendmail_message import Content, _fields, cleaned, parse_addresses, read, recipients_in
from postwarden.cli.tool import Refusal


def clean(data: bytes, *, dot: bool = True, fix: str = "always", step: int = 0) -> bytes:
    step = step or len(data) or 1
    return b"".join(cleaned((data[at : at + step] for at in range(0, len(data), step)), dot_ends=dot, fix=fix))


CASES = [
    (b"Subject: x\n\nbody\n", b"Subject: x\n\nbody\n"),
    (b"", b""),
    (b"no end", b"no end"),
    (b"From root Mon\n>From x\n>>From y\nFrom: me\n\nFrom me\n", b"From: me\n\nFrom me\n"),
    (b"From root", b"From root"),
    (b">Fromage\n", b">Fromage\n"),
    (b"a: b\r\n\r\nx\r\n.\r\nafter\r\n", b"a: b\n\nx\n"),
    (b"a: b\n\nx\r\nmore\r\r\n", b"a: b\n\nx\nmore\n"),
    (b"a: b\n\nx\n.\nafter\n", b"a: b\n\nx\n"),
    (b".\nafter\n", b""),
    (b"a: b\n\nx\n.", b"a: b\n\nx\n"),
    (b"a: b\n\nx\n..\n.x\n", b"a: b\n\nx\n..\n.x\n"),
    (b"a: b\n\nx.\n", b"a: b\n\nx.\n"),
    (b"a: b\n\nx\r", b"a: b\n\nx\r"),
    (b"a: b\n\nx\ry\n", b"a: b\n\nx\ry\n"),
    (b"\0\n", b"\0\n"),
]


@pytest.mark.parametrize(("data", "expected"), CASES)
@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_content_as_postfix_takes_it(data: bytes, expected: bytes, step: int) -> None:
    assert clean(data, step=step) == expected


@pytest.mark.parametrize("step", [0, 1, 3])
def test_a_dot_ends_only_where_it_shall(step: int) -> None:
    assert clean(b"a\n.\nb\n", dot=False, step=step) == b"a\n.\nb\n"


@pytest.mark.parametrize(
    ("fix", "data", "expected"),
    [
        ("strict", b"a\r\nb\nc\r\n", b"a\nb\nc\n"),
        ("strict", b"a\nb\r\n", b"a\nb\r\n"),
        ("never", b"a\r\nb\r\r\n", b"a\r\nb\r\r\n"),
    ],
)
@pytest.mark.parametrize("step", [0, 1])
def test_line_ends_by_parameter(fix: str, data: bytes, expected: bytes, step: int) -> None:
    assert clean(data, fix=fix, step=step) == expected


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b".", b"From ", b">", b"x", b"a: b\n"]), max_size=20).map(b"".join),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from(["always", "strict", "never"]),
)
def test_the_same_whole_and_in_pieces(data: bytes, step: int, dot: bool, fix: str) -> None:
    assert clean(data, dot=dot, fix=fix, step=step) == clean(data, dot=dot, fix=fix)


def test_reading_stops_at_the_dot() -> None:
    """A terminal does not end."""

    def typed() -> Iterator[bytes]:
        yield b"Subject: x\n"
        yield b"\n"
        yield b".\n"
        raise AssertionError("read on")

    assert b"".join(cleaned(typed(), dot_ends=True, fix="always")) == b"Subject: x\n\n"


def test_what_is_too_big_is_not_read_to_its_end() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 100

    with pytest.raises(Refusal, match="message file too big"):
        Content(endless(), 1000)


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_content_is_there_twice(size: int) -> None:
    content = Content([b"x" * size], 0)
    assert sum(map(len, content)) == sum(map(len, content)) == size
    content.close()


def test_a_header_of_any_length_is_read_once() -> None:
    """Whoever writes to a hundred thousand with -t folds the line as often: seconds, not minutes."""
    count = 100_000
    head = b"Subject: x\nBcc: a@x" + b"".join(b",\n user%06d@example.com" % n for n in range(count)) + b"\nX: y\n\n"
    with contextlib.closing(Content([head, b"body\n"], 0)) as content:
        began = time.process_time()
        assert len(list(_fields(content.head()))) == 3
        assert time.process_time() - began < 3


def test_a_descriptor_is_read_to_its_end() -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"abc")
    os.close(theirs)
    assert list(read(ours)) == [b"abc"]
    os.close(ours)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"To: a@x, B <b@x>\nCC: c@x,\n\td@x\nBcc:e@x\n\nTo: no@x\n", ["a@x", "b@x", "c@x", "d@x", "e@x"]),
        (b"To: a@x\nResent-To: r@x\nResent-Bcc: s@x\n\n", ["r@x", "s@x"]),
        (b"To: a@x\nResent-To:\n\n", []),
        (b"Resent-Date: x\nTo: a@x\n\n", ["a@x"]),
        (b"Apparently-To: a@x\nTo: g: b@x, c@x;, b@x\n\n", ["b@x", "c@x", "b@x"]),
        (b"To: undisclosed-recipients:;\n\n", []),
        (b"  To: a@x\n\n", []),
        (b"Subject: x\nno header\nTo: a@x\n\n", []),
        (b"To: (comment)\n\n", []),
        (b"To : a@x", ["a@x"]),
        (b"", []),
    ],
)
def test_recipients_of_a_header(head: bytes, expected: list[str]) -> None:
    assert recipients_in(head) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [("a b c", ["a", "b", "c"]), ("A <a@x>, b@x", ["a@x", "b@x"]), ('"a b"@x', ["a b@x"]), ("<>", []), ("", []),
     ('"a\nb"@x', ["a b@x"]), ("x\ny@x", ["x", "y@x"]), ("user@", ["user@"])],
)  # fmt: skip
def test_addresses_of_a_word(word: str, expected: list[str]) -> None:
    assert parse_addresses(word) == expected
