from collections.abc import Iterator

import msgspec
import pytest

from postwarden.mail.envelope import Recipient
from postwarden.wire.submission import (
    CHUNK,
    ENVELOPE,
    MAGIC,
    Answer,
    ContentWriter,
    End,
    Line,
    Malformed,
    Reader,
    Submission,
    answer,
    frame,
    log_lines,
    opening,
    parse_answer,
    whole,
)

ONE = Submission("me", (Recipient("you@example.com"),), full_name="Me")


def events(data: bytes, step: int = 0) -> list[Submission | bytes | End | Line]:
    reader = Reader()
    step = step or len(data)
    return [event for at in range(0, len(data), step) for event in reader.feed(data[at : at + step])]


@pytest.mark.parametrize("step", [0, 1, 7, CHUNK])
def test_what_is_written_is_read(step: int) -> None:
    data = b"".join(whole(ONE, [b"Subject: x\n", b"\n", b"y" * (CHUNK + 5)]))
    found = events(data, step)
    assert found[0] == ONE
    assert b"".join(part for part in found if isinstance(part, bytes)) == b"Subject: x\n\n" + b"y" * (CHUNK + 5)
    assert found[-1] == End()


def test_a_message_without_its_end_is_none() -> None:
    data = b"".join(whole(ONE, [b"body\n"]))
    reader = Reader()
    for _ in reader.feed(data[:-1]):
        assert not reader.ended
    list(reader.feed(data[-1:]))
    assert reader.ended


def tampered() -> Iterator[tuple[str, bytes]]:
    good = b"".join(whole(ONE, [b"body\n"]))
    yield "another magic", b"X" + good[1:]
    yield "content changed", good.replace(b"body", b"BODY")
    yield "content cut", good.replace(frame(b"D", b"body\n"), frame(b"D", b"bod\n"))
    yield "more behind the end", good + b"x"
    yield "two envelopes", opening(ONE) + frame(b"E", msgspec.msgpack.encode(ONE))
    yield "content first", MAGIC + frame(b"D", b"x")
    yield "a frame too long", opening(ONE) + b"D" + (CHUNK + 1).to_bytes(4)
    yield "an envelope too long", MAGIC + b"E" + (ENVELOPE + 1).to_bytes(4)
    yield "no msgpack", MAGIC + frame(b"E", b"\xc1")
    yield "another type", MAGIC + frame(b"E", msgspec.msgpack.encode(["me"]))
    yield "no UTF-8", MAGIC + frame(b"E", b"\x91\xa2\xff\x80")


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in tampered()])
@pytest.mark.parametrize("step", [0, 1])
def test_what_can_not_be(data: bytes, step: int) -> None:
    with pytest.raises(Malformed):
        events(data, step)


@pytest.mark.parametrize(
    "submission",
    [
        Submission("me\nFrom: you", ONE.recipients),
        Submission("me", (Recipient("you\0@example.com"),)),
        Submission("me", (Recipient("you\r\nRCPT TO:<x>"),)),
        Submission("me", ONE.recipients, full_name="Me\nBcc: x"),
        Submission("me", (Recipient("you", orcpt="rfc822;you NOTIFY=NEVER"),)),
        Submission("me", (Recipient("you", notify=16),)),
        Submission("me", ONE.recipients, envid="a b"),
        Submission("me", ONE.recipients, envid="ä"),
        Submission("me", ONE.recipients, ret="ALL"),
        Submission("me", ONE.recipients, trace="yes"),
        Submission("me", ONE.recipients, verp="+"),
    ],
)
def test_nothing_that_could_forge_a_line_or_a_parameter(submission: Submission) -> None:
    with pytest.raises(Malformed):
        events(opening(submission))


def test_too_many_recipients_are_not_even_sent() -> None:
    crowd = tuple(Recipient("x" * 60_000) for _ in range(ENVELOPE // 60_000 + 1))
    with pytest.raises(Malformed):
        opening(Submission("me", crowd))


def test_answers() -> None:
    said = Answer("accepted", "", "ABC")
    data = answer(said)
    assert parse_answer(data[:3]) is None
    assert parse_answer(data[:-1]) is None
    assert parse_answer(data) == said
    for wrong in (b"Z" + data[1:], frame(b"A", b"\xc1"), b"A\xff\xff\xff\xff"):
        with pytest.raises(Malformed):
            parse_answer(wrong)


def test_an_end_counts_from_nothing() -> None:
    assert events(opening(ONE) + ContentWriter().end()) == [ONE, End()]


@pytest.mark.parametrize("step", [0, 1])
def test_lines_for_the_log(step: int) -> None:
    lines = [Line("info", "postfix/postlog[1]: x"), Line("fatal", "postfix/sendmail[2]: fatal: y")]
    assert events(log_lines(lines), step) == lines
    (cut,) = events(log_lines([Line("info", "x" * 100_000)]))
    assert isinstance(cut, Line)
    assert len(cut.text) == 2048


@pytest.mark.parametrize(
    "data",
    [
        MAGIC + frame(b"L", b"\xc1"),
        log_lines([Line("debug", "x")]),
        log_lines([Line("info", "x")]) + frame(b"E", msgspec.msgpack.encode(ONE)),
        log_lines([Line("info", "x")]) + frame(b"Z", bytes(12)),
        opening(ONE) + frame(b"L", msgspec.msgpack.encode(Line("info", "x"))),
        MAGIC + b"L" + (1 << 20).to_bytes(4),
    ],
)
def test_lines_and_mail_are_not_mixed(data: bytes) -> None:
    with pytest.raises(Malformed):
        events(data)
