import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.deliver.smtp.content import Encoder, encode, fold, too_long


def slow(content: bytes, limit: int) -> bytes:
    """The same, line by line."""
    lines = content.split(b"\r\n")
    if lines[-1] == b"":
        lines.pop()
    out = b""
    for line in lines:
        pieces = [line]
        if limit and len(line) > limit:
            pieces = [line[:limit]]
            rest = line[limit:]
            while rest:
                pieces.append(rest[: limit - 1])
                rest = rest[limit - 1 :]
        out += (b"." if line[:1] == b"." else b"") + b"\r\n ".join(pieces) + b"\r\n"
    return out


contents = st.lists(st.sampled_from([b".", b"\r\n", b"\r", b"\n", b"ab", b"\r\n.", b"x" * 12, b".."]), max_size=20).map(
    b"".join
)
limits = st.sampled_from([0, 2, 5, 10])


@given(contents, limits)
def test_encode(content: bytes, limit: int) -> None:
    assert encode(content, limit) == slow(content, limit)


@given(contents, limits, st.lists(st.integers(1, 9), min_size=1))
def test_pieces_give_the_same(content: bytes, limit: int, sizes: list[int]) -> None:
    encoder, out, at = Encoder(limit), b"", 0
    while at < len(content):
        size = sizes[at % len(sizes)]
        out += encoder.feed(content[at : at + size])
        at += size
    assert out + encoder.finish() == slow(content, limit)


@pytest.mark.parametrize("limit", [0, 998])
def test_a_line_without_end_is_not_kept(limit: int) -> None:
    encoder, out = Encoder(limit), b""
    line = b"." + b"x" * 1_000_000 + b"\r" * 3 + b"y" * 200_000
    for at in range(0, len(line), 50_000):
        out += encoder.feed(line[at : at + 50_000])
        assert len(encoder._line) <= 120_000
    assert out + encoder.finish() == slow(line, limit)


@given(contents, st.integers(1, 12))
def test_too_long(content: bytes, limit: int) -> None:
    assert too_long(content, limit) == any(len(line) > limit for line in content.split(b"\r\n"))


@given(contents, st.integers(2, 12))
def test_folded_is_not_too_long(content: bytes, limit: int) -> None:
    assert not too_long(fold(content, limit), limit)


@given(contents, limits)
def test_no_final_dot_comes_from_within(content: bytes, limit: int) -> None:
    assert b"\r\n.\r\n" not in b"\r\n" + encode(content, limit)
