"""A policy server that may say anything: each question is answered once, in bounded time, by an action or by none; and
what it answers is never more than access(5) allows."""

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.rounds import rounds

from postwarden.addressing.resolve import open_resolver
from postwarden.mail.decision import Pending
from postwarden.mail.envelope import Client
from postwarden.mail.session import SessionFacts
from postwarden.net.policy_client import Endpoint, Limits, PolicyServer
from postwarden.net.stream import Handler
from postwarden.policy.judge import Judge
from postwarden.tables.opening import Tables
from postwarden.testing.clock import VirtualClock
from postwarden.testing.config import settings as configured
from postwarden.testing.remote import MemoryDial
from postwarden.testing.resolver import FakeResolver
from postwarden.testing.stream import Answering
from postwarden.wire.policy import PolicyError, ReplyReader

replies = st.one_of(
    st.sampled_from([b"action=OK\n\n", b"action=DUNNO\n\n", b"", b"\n\n", b"action=", b"action=\n", b"x\n\n"]),
    st.binary(max_size=40),
    st.just(b"y" * 20_000),
)
turns = st.lists(st.tuples(replies, st.sampled_from(["", "close", "end", "later"])), max_size=6)


class Far(Answering):
    def __init__(self, turns: list[tuple[bytes, str]], clock: VirtualClock) -> None:
        self._turns = turns
        self._clock = clock

    def received(self, data: bytes) -> None:
        say, then = self._turns.pop(0) if self._turns else (b"", "")
        if then == "later":
            self._clock.call_later(3, lambda: self.stream.write(say))
            return
        self.stream.write(say)
        if then == "close":
            self.stream.close()


@given(turns, st.integers(1, 5), st.sampled_from([0, 7]), st.integers(1, 3))
@settings(max_examples=rounds(100), deadline=None)
def test_each_question_is_answered_once(said: list[tuple[bytes, str]], questions: int, chunk: int, tries: int) -> None:
    clock = VirtualClock()

    def accept() -> Handler:
        return Far(said, clock)

    dial = MemoryDial(clock, {("192.0.2.7", 9): accept}, chunk=chunk)
    limits = Limits(timeout=5, try_limit=tries)
    client = PolicyServer(Endpoint("x", "192.0.2.7", 9), limits, dial, FakeResolver(), clock, lambda text: None)
    heard: list[list[str | None]] = [[] for _ in range(questions)]
    for answers in heard:
        client.ask(b"a=b\n\n", "1", answers.append)
        clock.advance(1)
    clock.advance(10 * tries * 6)
    assert all(len(answers) == 1 for answers in heard)


@given(st.lists(st.binary(max_size=60), max_size=5))
@settings(max_examples=rounds(200), deadline=None)
def test_a_reply_in_any_pieces_is_the_same(pieces: list[bytes]) -> None:
    def read(parts: list[bytes]) -> str | None:
        reader = ReplyReader()
        try:
            return next((action for part in parts if (action := reader.receive(part)) is not None), None)
        except PolicyError:
            return "error"

    whole = b"".join(pieces)
    if b"\n\n" not in whole[:-1]:
        assert read([whole]) == read([whole[i : i + 1] for i in range(len(whole))])


WORDS = st.sampled_from((
    "OK", "DUNNO", "REJECT", "DEFER", "450", "550", "FILTER", "REDIRECT", "PREPEND", "BCC", "HOLD", "DISCARD", "WARN",
    "INFO", "DEFER_IF_PERMIT", "DEFER_IF_REJECT", "permit", "reject", "warn_if_reject", "sleep", "check_client_access",
    "hash:/etc/passwd", "5.7.1", "x:y", "a@b", "X:", ",", "{", "}", "\n", "\0", "1e9", "-1",
))  # fmt: skip


@cache
def opened() -> Judge:
    chosen = configured(
        smtpd_relay_restrictions="reject_unauth_destination",
        smtpd_recipient_restrictions="check_policy_service inet:x:9",
    )
    tables = Tables.of(chosen)
    return Judge(chosen, "", tables, open_resolver(chosen, tables))


@given(st.lists(WORDS | st.text(max_size=10), max_size=6).map(" ".join))
@settings(max_examples=rounds(200), deadline=None)
def test_an_answer_never_opens_the_relay(answer: str) -> None:
    judge = opened()
    facts = SessionFacts(Client("x.example", "192.0.2.77"), sender="s@x.example")
    for stage in ("RCPT", "VRFY"):
        facts.findings.known["policy", "inet:x:9", stage, 1] = answer
        try:
            assert judge.recipient(facts, "a@far.example", stage).reply is not None
            judge.recipient(facts, "a@mx.example.com", stage)
        except Pending:
            assert "sleep" in answer
