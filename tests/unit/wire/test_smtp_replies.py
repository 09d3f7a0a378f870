import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.wire.smtp_replies import AHEAD_LIMIT, LINE_LIMIT, REPLY_LIMIT, EndlessReply, RemoteReply, ReplyReader


def read(data: bytes, chunk: int = 0) -> list[RemoteReply]:
    reader, replies = ReplyReader(), []
    pieces = [data[at : at + chunk] for at in range(0, len(data), chunk)] if chunk else [data]
    for piece in pieces:
        reader.feed(piece)
        while (reply := reader.next()) is not None:
            replies.append(reply)
    return replies


@pytest.mark.parametrize(
    ("data", "code", "status", "text"),
    [
        (b"250 2.1.0 Ok\r\n", 250, "2.1.0", "250 2.1.0 Ok"),
        (b"250\r\n", 250, "2.0.0", "250"),
        (b"550 no\n", 550, "5.0.0", "550 no"),
        (b"450 5.1.1 odd\r\n", 450, "4.0.0", "450 5.1.1 odd"),
        (b"550 5.1.1\r\n", 550, "5.1.1", "550 5.1.1"),
        (b"550 5.1.1x\r\n", 550, "5.0.0", "550 5.1.1x"),
        (b"550 5.1.1234 x\r\n", 550, "5.0.0", "550 5.1.1234 x"),
        (b"550   5.1.1 x\r\n", 550, "5.1.1", "550   5.1.1 x"),
        (b"354 2.0.0 go\r\n", 354, "5.5.0", "354 2.0.0 go"),
        (b"451-4.3.0 a\r\n451 4.7.1 b\r\n", 451, "4.7.1", "451-4.3.0 a\n451 4.7.1 b"),
        (b"250-a\r\n550 b\r\n", 550, "5.0.0", "250-a\n550 b"),
        (b"220 a\x01b\tc\r\n", 220, "2.0.0", "220 a?b?c"),
        (b"220 a\0b\r\n", 220, "2.0.0", "220 a"),
        (b"220 caf\xc3\xa9 \xff\r\n", 220, "2.0.0", "220 caf\u00e9 ?"),
        (b"250 a\r\r\n", 250, "2.0.0", "250 a"),
        (b"\r\n250 a\r\n", 250, "2.0.0", "250 a"),
    ],
)
def test_reply(data: bytes, code: int, status: str, text: str) -> None:
    for chunk in (0, 1):
        (reply,) = read(data, chunk)
        assert (reply.code, reply.status, reply.text) == (code, status, text)


def test_garbage_is_skipped_and_remembered() -> None:
    first, second = read(b"what?\r\n25 no\r\n2500 no\r\n250:no\r\n250 yes\r\n250 again\r\n")
    assert (first.code, first.garbled) == (250, True)
    assert (second.code, second.garbled) == (250, False)


def test_one_line_for_the_log() -> None:
    assert read(b"550-a\r\n550 b\r\n")[0].line == "550-a 550 b"


@pytest.mark.parametrize("chunk", [0, 1000])
def test_a_long_line_is_cut(chunk: int) -> None:
    first, second = read(b"550 5.1.1 " + b"x" * 100_000 + b"\r\n250 ok\r\n", chunk)
    assert len(first.text) == LINE_LIMIT
    assert (first.status, second.text) == ("5.1.1", "250 ok")


def test_a_long_text_is_cut_and_its_last_line_counts() -> None:
    (reply,) = read(b"550-" + b"x" * 90 + b"\r\n" + b"550-y\r\n" * 1000 + b"550 5.7.1 end\r\n")
    assert reply.status == "5.7.1"
    assert len(reply.text) < 2 * LINE_LIMIT


@pytest.mark.parametrize("line", [b"250-x\r\n", b"garbage\r\n", b"x" * 7000])
def test_a_reply_without_end_is_given_up(line: bytes) -> None:
    with pytest.raises(EndlessReply):
        read(line * (REPLY_LIMIT // len(line) + 10), 1 << 16)


def test_what_nobody_has_asked_for_is_not_kept_without_end() -> None:
    reader = ReplyReader()
    with pytest.raises(EndlessReply):
        for _ in range(100):
            reader.feed(b"250 me too\r\n" * 100)
    assert len(reader._buffer) < 2 * AHEAD_LIMIT


@pytest.mark.parametrize("chunk", [1 << 20, 700])
def test_a_filter_sees_no_more_of_a_line_than_counts(chunk: int) -> None:
    seen: list[bytes] = []

    def filtered(line: bytes) -> bytes:
        seen.append(line)
        return b"450" + line[3:]

    reader = ReplyReader()
    reader.filtered = filtered
    data = b"550 " + b"x" * 300_000 + b"\r\n"
    replies = []
    for at in range(0, len(data), chunk):
        reader.feed(data[at : at + chunk])
        if (reply := reader.next()) is not None:
            replies.append(reply)
    assert [len(line) for line in seen] == [LINE_LIMIT]
    assert [(reply.code, len(reply.text)) for reply in replies] == [(450, LINE_LIMIT)]


def test_cleared_is_empty() -> None:
    reader = ReplyReader()
    reader.feed(b"250-a\r\n250 b\r\n22")
    reader.next()
    assert not reader.empty
    reader.clear()
    assert reader.empty
    reader.feed(b"220 c\r\n")
    assert reader.next() is not None
    assert reader.empty


pieces = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"250 ok\r\n", b"250-a\r\n", b"550 5.1.1 x\r\n", b"\r", b"\n", b"25", b"0 ", b"x" * 3000]),
    ),
    max_size=12,
)


@given(pieces)
def test_how_it_is_cut_makes_no_difference(data: list[bytes]) -> None:
    whole = b"".join(data)
    assert read(whole) == read(whole, 1) == read(whole, 7)


@given(pieces)
def test_every_reply_is_sane(data: list[bytes]) -> None:
    for reply in read(b"".join(data)):
        assert 0 <= reply.code <= 999
        assert reply.status[0] in "245"
        assert reply.line.isprintable()
