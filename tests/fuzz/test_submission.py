"""Whatever comes over the submission socket, or lies in maildrop: a message that was meant, or `Malformed`."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from postwarden.mail.envelope import Recipient
from postwarden.wire.submission import (
    MAGIC,
    End,
    Line,
    Malformed,
    Reader,
    Submission,
    answer,
    frame,
    log_lines,
    parse_answer,
    whole,
)
from postwarden.wire.submission import Answer as Said

texts = st.one_of(st.text(max_size=30), st.sampled_from(["", "me", "a\nb", "HDRS", "verify", "+="]))
recipients = st.lists(st.builds(Recipient, texts, texts, texts, st.integers(-1, 20)), max_size=3).map(tuple)
submissions = st.builds(
    Submission, texts, recipients, texts, st.booleans(), st.booleans(), texts, texts, texts, texts, st.integers(-1, 9)
)
frames = st.builds(frame, st.sampled_from([b"E", b"D", b"Z", b"A", b"L", b"x"]), st.binary(max_size=40))
streams = st.one_of(
    st.binary(max_size=200),
    st.lists(frames, max_size=6).map(lambda parts: MAGIC + b"".join(parts)),
    st.builds(lambda one, data: b"".join(whole(one, data)), submissions, st.lists(st.binary(max_size=50), max_size=4)),
    st.lists(st.builds(Line, st.sampled_from(["info", "fatal", "x"]), texts), max_size=4).map(log_lines),
    st.builds(
        lambda one, rest: MAGIC + frame(b"E", msgspec.msgpack.encode(one)) + rest, submissions, st.binary(max_size=60)
    ),
)


def read(data: bytes, step: int) -> tuple[list[Submission | bytes | End | Line], str]:
    reader, found = Reader(), []
    try:
        for at in range(0, len(data), step):
            found += reader.feed(data[at : at + step])
    except Malformed as error:
        return found, str(error)
    assert reader.ended == (bool(found) and isinstance(found[-1], End))
    return found, ""


@given(streams, st.integers(1, 9))
def test_a_stream_is_read_the_same_whole_and_in_pieces(data: bytes, step: int) -> None:
    whole_read, why = read(data, len(data) or 1)
    pieces, why_in_pieces = read(data, step)
    assert bool(why) == bool(why_in_pieces)
    if not why:
        assert whole_read == pieces
    for event in (*whole_read, *pieces):
        if isinstance(event, Submission):
            said = (event.sender, event.full_name, *(recipient.address for recipient in event.recipients))
            assert not any(char in text for text in said for char in "\n\r\0")


@given(st.one_of(st.binary(max_size=60), frames, st.builds(Said, texts, texts, texts).map(answer)))
def test_an_answer_is_one_or_not(data: bytes) -> None:
    try:
        said = parse_answer(data)
    except Malformed:
        return
    assert said is None or isinstance(said, Said)
