"""The server's machine in every state, with any bytes and any replies.

The invariant: whatever arrives, in whatever pieces, `next` gives events and never raises; what it keeps without having
understood it is bounded; content is handed over only between an accepted MAIL and RCPT and the end of their
transaction; it has no CR or LF outside CRLF; and the pieces in which bytes arrived change nothing.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.rounds import rounds

from postwarden.wire.data import LineEnds, clean
from postwarden.wire.smtp_events import (
    BareLf,
    Chunk,
    ChunkEnd,
    Content,
    ContentEnd,
    Data,
    Hello,
    Mail,
    Rcpt,
    Refused,
    Unknown,
    Verify,
    Word,
)
from postwarden.wire.smtp_server import Machine, Options
from postwarden.wire.smtp_states import IN_TRANSACTION, State

EVENTS = (Hello, Mail, Rcpt, Data, Content, ContentEnd, Chunk, ChunkEnd, Verify, Word, Refused, Unknown, BareLf)
LIMIT, DISCARD = 100, 100 << 10
ROUNDS = rounds(150)
BEFORE = {
    State.CONNECTED: b"",
    State.GREETED: b"",
    State.READY: b"EHLO x\r\n",
    State.MAIL: b"MAIL FROM:<a@b.c>\r\n",
    State.RCPT: b"MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\n",
    State.DATA: b"MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n",
    State.CHUNKS: b"MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nBDAT 1\r\nx",
    State.HANDSHAKE: b"STARTTLS\r\n",
}
PIECES = (
    b"EHLO x", b"HELO ", b"MAIL FROM:<", b"MAIL FROM:<>", b"MAIL FROM:<a@b.c> SIZE=10 BODY=8BITMIME", b"RCPT TO:<",
    b"RCPT TO:<x@y.z>", b"DATA", b"BDAT 3", b"BDAT 0 LAST", b"BDAT 7 LAST", b"BDAT 99999999999999999", b"RSET", b"NOOP",
    b"QUIT", b"STARTTLS", b"VRFY \xc3\xbc", b"XCLIENT ADDR=", b"AUTH PLAIN", b"ETRN x", b"\r\n", b"\n", b"\r", b".",
    b"\r\n.\r\n", b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\0", b"\xff", b'"', b"\\", b"@", b">", b" ", b":",
    b"x" * 120, b"a: b", b"EHLO " + b"y" * 120, b"XFORWARD NAME=x",
)  # fmt: skip
data = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=6)), max_size=30).map(b"".join)
code_lists = st.lists(st.sampled_from((250, 250, 250, 354, 421, 450, 550)), min_size=1, max_size=8)
line_ends = st.sampled_from(tuple(LineEnds))


class Driver:
    """Answers each event with the next code of a list, and watches over the invariant."""

    def __init__(self, options: Options, codes: list[int]) -> None:
        self.machine = Machine(options)
        self.codes = codes
        self.turn = 0
        self.said: list[object] = []
        self.mail = self.rcpt = False

    def feed(self, data: bytes) -> None:
        self.machine.receive(data)
        while (event := self.machine.next()) is not None:
            assert isinstance(event, EVENTS)
            self.take(event)
        kept = self.machine.buffered
        assert kept <= LIMIT or self.machine.state in (State.CONNECTED, State.HANDSHAKE, State.CLOSED)

    def take(self, event: object) -> None:
        machine, before = self.machine, self.machine.state
        if isinstance(event, Content):
            assert self.mail and self.rcpt
            self.said.append(event.data)
            return
        self.said.append(event)
        if isinstance(event, Chunk):
            assert self.mail and self.rcpt
            return
        code = event.reply.code if isinstance(event, Refused) else self.codes[self.turn % len(self.codes)]
        self.turn += 1
        if isinstance(event, Data):
            assert self.mail and self.rcpt
            code = 354 if code < 400 else code
        elif code == 354:
            code = 250
        machine.answered(code)
        if isinstance(event, Refused):
            assert code == 421 or machine.state is before or before is State.SPOILED
        accepted = code < 400
        if isinstance(event, Mail) and accepted:
            self.mail, self.rcpt = True, False
        elif isinstance(event, Rcpt) and accepted:
            self.rcpt = True
        if machine.state not in IN_TRANSACTION:
            self.mail = self.rcpt = False
        if (isinstance(event, Refused) and event.close) or isinstance(event, BareLf):
            machine.close()

    def content(self) -> bytes:
        return b"".join(part for part in self.said if isinstance(part, bytes))


def prepared(state: State, options: Options, codes: list[int]) -> Driver:
    driver = Driver(options, [250])
    if state is not State.CONNECTED:
        driver.machine.answered(220)
        driver.feed(BEFORE[state])
        assert driver.machine.state is state
    driver.codes = codes
    driver.turn = 0
    return driver


def events_of(driver: Driver) -> list[object]:
    """What was said, adjoining content as one."""
    merged: list[object] = []
    for part in driver.said:
        if isinstance(part, bytes) and merged and isinstance(merged[-1], bytes):
            merged[-1] += part
        elif part != b"":
            merged.append(part)
    return merged


@pytest.mark.parametrize("state", BEFORE, ids=lambda state: state.name)
@given(data=data, codes=code_lists, ends=line_ends, cuts=st.lists(st.integers(0, 300), max_size=8))
@settings(max_examples=ROUNDS, deadline=None)
def test_any_bytes_in_any_state(state: State, data: bytes, codes: list[int], ends: LineEnds, cuts: list[int]) -> None:
    options = Options(line_limit=LIMIT, line_ends=ends, discard_limit=DISCARD)
    whole = prepared(state, options, codes)
    whole.feed(data)
    pieces = prepared(state, options, codes)
    at = 0
    for cut in sorted({min(cut, len(data)) for cut in cuts} | {len(data)}):
        pieces.feed(data[at:cut])
        at = cut
    assert events_of(whole) == events_of(pieces)
    assert whole.machine.state is pieces.machine.state
    for part in events_of(whole):
        if isinstance(part, bytes):
            assert clean(part)


@given(data=data, codes=code_lists)
@settings(max_examples=ROUNDS, deadline=None)
def test_byte_by_byte(data: bytes, codes: list[int]) -> None:
    options = Options(line_limit=LIMIT, discard_limit=DISCARD)
    whole, single = prepared(State.GREETED, options, codes), prepared(State.GREETED, options, codes)
    whole.feed(data)
    for n in range(len(data)):
        single.feed(data[n : n + 1])
    assert events_of(whole) == events_of(single)
