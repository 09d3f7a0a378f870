"""What a user hears who can't read the store himself, over a real Unix socket."""

import asyncio
import os
import threading
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from tests.unit.roles.test_queue_server import Stub, served
from tests.unit.trace.test_search import GONE, RECORDS, STORED

from postwarden.ipc import queue_records as ask
from postwarden.ipc.queue_client import Bad, QueueClient
from postwarden.mail.queue import Damaged
from postwarden.roles import decision_reader
from postwarden.roles.decision_reader import DecisionReader
from postwarden.trace.files import Writer, directory
from postwarden.trace.records import Because, Ended, Facts, Judged, Record

decode = msgspec.msgpack.Decoder(Record).decode


def write(base: Path, records: list[Record]) -> str:
    spool = base / "postwarden"
    spool.mkdir(exist_ok=True)
    path = directory(str(spool))
    writer = Writer(path, "receiver0", lambda: 1.7e9, print)
    for record in records:
        writer.add(record)
    writer.close()
    return path


def asked(base: Path, question: ask.AskHistory | ask.AskRefused) -> list[Record]:
    found: list[Record] = []
    served(base, Stub([]), lambda queue: found.extend(decode(data) for data in queue.decisions(question)))
    return found


def test_a_message_and_a_refusal(tmp_path: Path) -> None:
    write(tmp_path, RECORDS)
    told = asked(tmp_path, ask.AskHistory("<m@x>"))
    assert STORED in told and len(told) == 6
    assert asked(tmp_path, ask.AskHistory("7k3q9d2mx")) == [GONE]
    assert asked(tmp_path, ask.AskRefused(recipient="no@d.example")) == [GONE]
    assert asked(tmp_path, ask.AskHistory("nothing")) == []


def test_much_comes_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_reader, "_BYTES", 2000)
    many: list[Record] = [replace(GONE, when=float(n)) for n in range(100)]
    write(tmp_path, many)
    assert asked(tmp_path, ask.AskRefused()) == many
    assert asked(tmp_path, ask.AskHistory("7K3-Q9D-2MX")) == many


def test_a_store_that_is_not_there_or_not_readable(tmp_path: Path) -> None:
    assert asked(tmp_path, ask.AskRefused()) == []
    (tmp_path / "postwarden" / "trace").write_text("a file")
    with pytest.raises(Bad, match="Not a directory"):
        asked(tmp_path, ask.AskRefused())


@pytest.mark.parametrize("question", [ask.AskHistory(""), ask.AskHistory("<>"), ask.AskRefused(client="x" * 1001)])
def test_what_is_no_question(tmp_path: Path, question: ask.AskHistory | ask.AskRefused) -> None:
    with pytest.raises(Bad):
        asked(tmp_path, question)


def test_the_next_question_of_a_connection_is_another(tmp_path: Path) -> None:
    """What the first found out belongs to its name."""
    write(tmp_path, RECORDS)

    def work(queue: QueueClient) -> None:
        for name, count in (("Q1", 6), ("Q2", 1), ("Q1", 6)):
            assert len(list(queue.decisions(ask.AskHistory(name)))) == count

    served(tmp_path, Stub([]), work)


def test_one_is_looked_up_at_a_time_and_the_end_waits_for_none(tmp_path: Path) -> None:
    path = write(tmp_path, [Ended(1.0, "Q")])
    hurried = threading.Event()

    async def live() -> None:
        reader = DecisionReader(path)
        loop, begun = asyncio.get_running_loop(), asyncio.Event()

        def slow(path: str, pace: object) -> ask.Records:
            loop.call_soon_threadsafe(begun.set)
            hurried.wait(30)
            return ask.Records((), None)

        first = asyncio.ensure_future(reader.read(slow))
        second = asyncio.ensure_future(reader.asking().answer(ask.AskRefused()))
        await begun.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not second.done()
        hurried.set()
        assert await first == await second == ask.Records((), None)
        reader.close()
        late = asyncio.ensure_future(reader.asking().answer(ask.AskRefused()))
        await asyncio.sleep(0)
        late.cancel()

    asyncio.run(live())


def test_who_rests_is_woken_by_the_end() -> None:
    over = threading.Event()
    pace = decision_reader._Pace(over, turn=0.0)
    pace()
    over.set()
    with pytest.raises(decision_reader._Ended):
        while True:
            pace()


def test_a_name_of_a_session_opens_nothing(tmp_path: Path) -> None:
    """They can be guessed, and would show what the same client sent to others."""
    facts = Facts(GONE.facts.client, 2, 2, "127.0.0.1", 25, None, "a@b.example", 0, 0, "", False, None)
    private = Judged(1.0, "s9", "smtp/inet", "RCPT", facts, "secret@d.example", "", "permit", "", Because("permit"))
    write(tmp_path, [private])
    for name in ("s9", "secret@d.example", "permit"):
        assert asked(tmp_path, ask.AskHistory(name)) == []


def test_damage_of_a_question_is_its_askers(tmp_path: Path) -> None:
    async def live() -> None:
        with pytest.raises(Damaged):
            await DecisionReader(os.fspath(tmp_path)).asking().answer(ask.AskHistory("x" * 2000))

    asyncio.run(live())
