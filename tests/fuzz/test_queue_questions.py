"""Whatever comes over the control socket of the queue: questions and answers that were meant, or `ChannelError`."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.ipc import queue_records as ask
from postwarden.ipc.channel import HELLO, ChannelError, Decoder, frame
from postwarden.mail.queue import Damaged
from postwarden.roles.decision_reader import DecisionReader
from postwarden.trace.files import Writer
from postwarden.trace.records import Ended

numbers = st.integers(-(1 << 63), (1 << 64) - 1)
words = st.one_of(st.text(max_size=40), st.sampled_from([*ask.OPERATIONS, *ask.QUEUES, "ALL"]))
cursors = st.one_of(st.none(), st.tuples(numbers, numbers, numbers, numbers))
places = st.one_of(st.none(), st.tuples(words, numbers))
questions = st.one_of(
    st.builds(ask.ListPage, cursors, numbers),
    st.builds(ask.FlushAll),
    st.builds(ask.FlushSite, words),
    st.builds(ask.FlushMessage, words),
    st.builds(ask.Act, words, st.lists(words, max_size=5).map(tuple), st.lists(words, max_size=3).map(tuple), cursors),
    st.builds(ask.Fetch, words),
    st.builds(ask.AskFigures),
    st.builds(ask.AskHistory, words, places),
    st.builds(ask.AskRefused, words, words, words, st.floats(allow_nan=False), places),
)
streams = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=200).map(lambda data: HELLO + data),
    st.lists(st.one_of(questions.map(frame), st.binary(max_size=30)), max_size=6).map(lambda x: HELLO + b"".join(x)),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("store") / "trace")
    writer = Writer(path, "courier", lambda: 1.0, print)
    for name in ("0", "ALL", "hold"):
        writer.add(Ended(1.0, name))
    writer.close()
    return path


def read(kind: object, data: bytes, step: int) -> list[object]:
    decoder: Decoder[object] = Decoder(kind, limit=1000)
    found: list[object] = []
    try:
        for at in range(0, len(data), step):
            found += [record for record, _ in decoder.feed(data[at : at + step])]
    except ChannelError:
        found.append(ChannelError)
    return found


@given(streams, st.integers(1, 9))
def test_questions(data: bytes, step: int) -> None:
    whole, pieces = read(ask.Question, data, len(data) or 1), read(ask.Question, data, step)
    assert whole[-1:] == pieces[-1:] or ChannelError not in whole
    assert all(isinstance(one, ask.Question) or one is ChannelError for one in pieces)


@given(streams)
def test_answers(data: bytes) -> None:
    assert all(isinstance(one, ask.Answer) or one is ChannelError for one in read(ask.Answer, data, len(data) or 1))


@given(questions.filter(lambda question: isinstance(question, ask.AskHistory | ask.AskRefused)))
def test_what_is_asked_of_the_store_is_answered(store: str, question: ask.AskHistory | ask.AskRefused) -> None:
    """Wherever it wants to go on: with records, or with a refusal."""

    async def answered() -> ask.Answer | None:
        try:
            return await DecisionReader(store).asking().answer(question)
        except Damaged:
            return None

    answer = asyncio.run(answered())
    assert answer is None or (isinstance(answer, ask.Records) and answer.after is None)
    assert read(ask.Answer, HELLO + frame(answer or ask.Done()), 1 << 20)[0] != ChannelError


@given(questions)
def test_what_is_asked_is_heard(question: ask.Question) -> None:
    assert read(ask.Question, HELLO + frame(question), 7) == [question]
