"""The machine in each state: what may be sent, what a reply does, and that nothing unasked counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.wire.smtp_client import SmtpClient, UsageError
from postwarden.wire.smtp_replies import EndlessReply
from postwarden.wire.smtp_states import BANNER, END, STEPS, VERBS, State

TALK = {
    State.CONNECTED: [],
    State.REFUSED: [(BANNER, b"554 no\r\n")],
    State.GREETED: [(BANNER, b"220 hi\r\n")],
    State.READY: [(BANNER, b"220 hi\r\n"), ("EHLO", b"250 hi\r\n")],
    State.MAIL: [(BANNER, b"220 hi\r\n"), ("EHLO", b"250 hi\r\n"), ("MAIL", b"250 ok\r\n")],
    State.RCPT: [
        (BANNER, b"220 hi\r\n"), ("EHLO", b"250 hi\r\n"), ("MAIL", b"250 ok\r\n"), ("RCPT", b"250 ok\r\n"),
    ],
    State.DATA: [
        (BANNER, b"220 hi\r\n"), ("EHLO", b"250 hi\r\n"), ("MAIL", b"250 ok\r\n"), ("RCPT", b"250 ok\r\n"),
        ("DATA", b"354 go\r\n"),
    ],
    State.HANDSHAKE: [(BANNER, b"220 hi\r\n"), ("EHLO", b"250 hi\r\n"), ("STARTTLS", b"220 go\r\n")],
    State.CLOSED: [(BANNER, b"220 hi\r\n"), ("QUIT", b"221 bye\r\n")],
}  # fmt: skip


def client_in(state: State) -> SmtpClient:
    client = SmtpClient()
    for event, reply in TALK[state]:
        if event != BANNER:
            client.send(event, event.encode())
        client.feed(reply)
        assert client.next() is not None
    assert client.state is state
    return client


@pytest.mark.parametrize("state", TALK)
@pytest.mark.parametrize("verb", [*sorted(VERBS), END])
def test_only_what_is_legal_is_sent(state: State, verb: str) -> None:
    client = client_in(state)
    if verb in STEPS[state] and state is not State.CONNECTED:
        assert client.send(verb, b"x") == b"x\r\n"
    else:
        with pytest.raises(UsageError):
            client.send(verb, b"x")


def test_replies_belong_to_their_commands() -> None:
    client = client_in(State.READY)
    for verb in ("MAIL", "RCPT", "RCPT", "DATA"):
        client.send(verb, b"")
    client.feed(b"250 a\r\n550 b\r\n250 c\r\n354 d\r\n")
    answers = []
    while (answer := client.next()) is not None:
        answers.append((answer[0], answer[1].code))
    assert answers == [("MAIL", 250), ("RCPT", 550), ("RCPT", 250), ("DATA", 354)]
    assert client.state is State.DATA


@pytest.mark.parametrize("last", ["EHLO", "DATA", "STARTTLS", "QUIT"])
def test_nothing_is_sent_behind_what_ends_a_group(last: str) -> None:
    client = client_in(State.RCPT if last == "DATA" else State.READY)
    client.send(last, b"")
    with pytest.raises(UsageError):
        client.send("RSET", b"")


def test_what_follows_the_reply_to_starttls_is_forgotten() -> None:
    client = client_in(State.READY)
    client.send("STARTTLS", b"STARTTLS")
    client.feed(b"220 go\r\n250-injected\r\n250 SIZE 1\r\n")
    client.next()
    assert client.state is State.HANDSHAKE
    assert not client.unasked
    client.secured()
    client.send("EHLO", b"EHLO x")
    assert client.next() is None
    with pytest.raises(UsageError):
        client.secured()


def test_an_early_reply_is_no_answer_to_what_is_sent_later() -> None:
    client = client_in(State.DATA)
    client.feed(b"250 thanks\r\n")
    assert client.next() is None
    assert client.unasked
    reply = client.early()
    assert reply is not None and reply.code == 250
    assert not client.unasked


def test_354_without_recipients_wants_an_empty_message() -> None:
    client = client_in(State.READY)
    for verb in ("MAIL", "RCPT", "DATA"):
        client.send(verb, b"")
    client.feed(b"250 a\r\n550 b\r\n354 d\r\n")
    while client.next() is not None:
        pass
    assert client.send(END, b".") == b".\r\n"


def test_lmtp_has_a_reply_for_each_recipient() -> None:
    client = client_in(State.DATA)
    client.send(END, b".", 3)
    client.feed(b"250 a\r\n")
    assert client.next() is not None
    assert not client.idle
    client.feed(b"250 b\r\n450 c\r\n")
    assert [client.next() is not None for _ in range(3)] == [True, True, False]
    assert client.idle


@pytest.mark.parametrize("code", [b"150", b"250", b"350", b"450", b"650", b"000"])
def test_a_reply_of_a_wrong_class_is_a_refusal(code: bytes) -> None:
    client = client_in(State.RCPT)
    client.send("DATA", b"DATA")
    client.feed(code + b" x\r\n")
    client.next()
    assert client.state is (State.DATA if code == b"350" else State.READY)
    client = client_in(State.READY)
    client.send("MAIL", b"")
    client.feed(code + b" x\r\n")
    client.next()
    assert client.state is (State.MAIL if code == b"250" else State.READY)


def test_garbage_is_remembered() -> None:
    client = client_in(State.READY)
    client.send("MAIL", b"")
    client.feed(b"garbage\r\n250 x\r\n")
    client.next()
    assert client.garbled


anything = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from([b"250 ok\r\n", b"354 go\r\n", b"421 bye\r\n", b"550 5.1.1 no\r\n", b"220-x\r\n", b"334 \r\n"]),
    ),
    max_size=8,
)
attempts = st.lists(st.sampled_from([*sorted(VERBS), END]), max_size=8)


@given(st.sampled_from(sorted(TALK)), attempts, anything)
def test_any_bytes_in_any_state(state: State, events: list[str], data: list[bytes]) -> None:
    """Whatever comes: a legal state, no more answers than questions, and no error but the two that are documented."""
    client = client_in(state)
    asked = 1 if state is State.CONNECTED else 0
    answered = 0
    for event, piece in zip(events + ["NOOP"] * len(data), data, strict=False):
        try:
            client.send(event, b"x")
            asked += 1
        except UsageError:
            pass
        try:
            client.feed(piece)
            while client.next() is not None:
                answered += 1
        except EndlessReply:
            return
        assert answered <= asked
        assert client.state in State
        assert not (client.idle and client.unasked)


@pytest.mark.parametrize("line", [b"RCPT TO:<a@b>\r\nRCPT TO:<c@d>", b"RCPT TO:<a@b\n>", b"RCPT TO:<a@b\r>"])
def test_a_line_break_never_leaves_within_a_command(line: bytes) -> None:
    with pytest.raises(UsageError):
        client_in(State.MAIL).send("RCPT", line)
