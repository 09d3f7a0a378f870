"""The control socket over a real Unix socket; the courier behind it is a stand-in with a few messages."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from postwarden.ipc import queue_records as ask
from postwarden.ipc.channel import HELLO, frame
from postwarden.ipc.queue_client import Bad, Down, QueueClient, Unserved
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.queue import Content, Cursor, Damaged, Listed, State
from postwarden.net.log import MailLog, MemorySink
from postwarden.roles import queue_server
from postwarden.roles.decision_reader import DecisionReader
from postwarden.roles.queue_server import QueueServer
from postwarden.trace.files import directory

encode = msgspec.msgpack.encode


def listed(n: int, size: int = 0) -> Listed:
    envelope = Envelope(f"ID{n}", 1e9 + n, "joe@example.org", (Recipient("x" * size),), 100)
    return Listed((0, n), f"ID{n}", 0.0, False, encode(envelope), encode(State((0,))))


class Stub:
    """As much of courier and operations as the server asks for."""

    def __init__(self, messages: list[Listed]) -> None:
        self.operations = self
        self.messages = messages
        self.asked: list[tuple[str, object]] = []
        self.done: list[str] = []
        self.waiting: set[str] = set()
        self.only_waits = False
        self.limits: list[int] = []

    def page(self, after: Cursor | None, limit: int = 500) -> tuple[list[Listed], Cursor | None]:
        self.limits.append(limit)
        if after and after[0] >= 1 << 63:
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        start = after[0] if after else 0
        end = start + limit
        return self.messages[start:end], (end, 0, 0, 0) if end < len(self.messages) else None

    def act(self, operation: str, ids: Sequence[str], queues: Sequence[str], over: Callable[[], None]) -> "Stub":
        self.asked.append((operation, tuple(ids)))
        self.done = [queue_id for queue_id in ids if queue_id != "ABSENT"]
        over()
        return self

    def act_on(self, operation: str, page: Sequence[Listed], queues: Sequence[str], over: Callable[[], None]) -> "Stub":
        return self.act(operation, [one.queue_id for one in page], queues, over)

    def peek(self, queue_id: str) -> tuple[Listed, Content] | None:
        if queue_id == "BROKEN":
            raise Damaged("BROKEN: record is damaged")
        return (listed(1), Content(b"Subject: hi\r\n\r\n", b"hello")) if queue_id == "ID1" else None

    def flush(self) -> None:
        self.asked.append(("flush", ()))

    def flush_site(self, site: str) -> bool:
        self.asked.append(("site", site))
        return site == "slow.example"

    def flush_message(self, queue_id: str) -> None:
        self.asked.append(("message", queue_id))

    def whereabouts(self) -> ask.Figures:
        return ask.Figures(1e9, 3, 2, 1, 1e9 + 300, ())


@asynccontextmanager
async def serving(base: Path, stub: Stub) -> AsyncIterator[QueueServer]:
    (base / "postwarden" / "public").mkdir(parents=True, exist_ok=True)
    log = MailLog(MemorySink(), "postfix")
    decisions = DecisionReader(directory(str(base / "postwarden")))
    server = QueueServer(stub, log, lambda parameter, user: user == "root", decisions)  # type: ignore[arg-type]
    server.open(ask.socket_path(str(base)))
    try:
        yield server
    finally:
        server.close()


def served(base: Path, stub: Stub, work: Callable[[QueueClient], object]) -> None:
    """The blocking client in a thread, the server on the loop."""

    def client() -> None:
        with QueueClient(str(base), timeout=10) as queue:
            work(queue)

    async def live() -> None:
        async with serving(base, stub):
            await asyncio.to_thread(client)

    asyncio.run(live())


def test_listing_comes_in_pages(tmp_path: Path) -> None:
    stub = Stub([listed(n) for n in range(1203)])
    found: list[str] = []
    served(tmp_path, stub, lambda queue: found.extend(one.queue_id for one in queue.listing()))
    assert found == [f"ID{n}" for n in range(1203)]
    assert stub.limits == [500, 500, 500]


class Full:
    """A socket of a process that has no descriptor left."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.tries = 0

    def fileno(self) -> int:
        return self.sock.fileno()

    def accept(self) -> tuple[socket.socket, object]:
        self.tries += 1
        if self.tries == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return self.sock.accept()

    def close(self) -> None:
        self.sock.close()


def test_without_a_descriptor_it_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_server, "_PAUSE", 0.01)
    figures: list[ask.Figures] = []

    def client() -> None:
        with QueueClient(str(tmp_path), timeout=10) as queue:
            figures.append(queue.figures())

    async def live() -> None:
        async with serving(tmp_path, Stub([])) as server:
            assert server._socket is not None
            server._socket = Full(server._socket)  # type: ignore[assignment]
            await asyncio.to_thread(client)
            assert isinstance(server._socket, Full) and server._socket.tries == 2

    asyncio.run(live())
    assert figures[0].active == 3


def test_a_place_that_can_not_be_is_answered(tmp_path: Path) -> None:
    def work(queue: QueueClient) -> None:
        with pytest.raises(Bad, match="no such place"):
            queue._ask(ask.ListPage(((1 << 64) - 1, 0, 0, 0)), ask.Page)
        assert len(list(queue.listing())) == 1

    served(tmp_path, Stub([listed(1)]), work)


def test_operations_go_through_in_pages(tmp_path: Path) -> None:
    stub = Stub([listed(n) for n in range(1001)])
    results: list[list[str]] = []

    def work(queue: QueueClient) -> None:
        results.append(list(queue.act("delete", iter(["A", "ABSENT", "B"]))))
        results.append(list(queue.act("hold", (f"Q{n}" for n in range(1200)))))
        results.append(list(queue.act_on_all("delete")))

    served(tmp_path, stub, work)
    assert results[0] == ["A", "B"]
    assert [len(result) for result in results[1:]] == [1200, 1001]
    assert [len(ids) for _, ids in stub.asked] == [3, 500, 500, 200, 500, 500, 1]  # type: ignore[arg-type]


def test_requeueing_all_leaves_out_what_is_newer_than_the_question(tmp_path: Path) -> None:
    newer = msgspec.structs.replace(
        listed(2), raw_envelope=encode(Envelope("ID2", 1e9, "", (), 1, created=1e12)), queue_id="ID2"
    )
    stub = Stub([listed(1), newer])
    done: list[str] = []
    served(tmp_path, stub, lambda queue: done.extend(queue.act_on_all("requeue")))
    assert done == ["ID1"]


def test_a_message_is_fetched_with_two_descriptors(tmp_path: Path) -> None:
    def work(queue: QueueClient) -> None:
        found = queue.fetch("ID1")
        assert found is not None
        fetched, head, body = found
        with open(head, "rb") as one, open(body, "rb") as two:
            assert (one.read(), two.read()) == (b"Subject: hi\r\n\r\n", b"hello")
        assert (fetched.body_offset, fetched.body_size, fetched.listed.queue_id) == (0, 5, "ID1")
        assert queue.fetch("ID9") is None
        with pytest.raises(Bad, match="damaged"):
            queue.fetch("BROKEN")

    before = len(os.listdir("/proc/self/fd"))
    served(tmp_path, Stub([]), work)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_flushes(tmp_path: Path) -> None:
    stub = Stub([])

    def work(queue: QueueClient) -> None:
        queue.flush()
        queue.flush_site("slow.example")
        queue.flush_message("ABC")
        assert queue.figures().active == 3
        with pytest.raises(Unserved, match='not configured for destination "x'):
            queue.flush_site("x.example")
        for site in ("", "a b", "-x", "[x", "x" * 300):
            with pytest.raises(Bad):
                queue.flush_site(site)
        for queue_id in ("", "../x", "A B", "A\n"):
            with pytest.raises(Bad):
                queue.flush_message(queue_id)
        with pytest.raises(Bad):
            list(queue.act("destroy", ["A"]))

    served(tmp_path, stub, work)
    assert [what for what, _ in stub.asked] == ["flush", "site", "message", "site"]


def test_what_is_being_delivered_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postwarden.roles.queue_server._IN_DELIVERY", 0.01)
    stub = Stub([])
    stub.only_waits = True

    def act(operation: str, ids: Sequence[str], queues: Sequence[str], over: Callable[[], None]) -> Stub:
        stub.done, stub.waiting = ["A"], {"B"}
        return stub

    stub.act = act  # type: ignore[method-assign]
    done: list[str] = []
    served(tmp_path, stub, lambda queue: done.extend(queue.act("hold", ["A", "B"])))
    assert done == ["A", "B"]


def in_loop(work: Callable[[QueueServer, str], Coroutine[object, object, None]], base: Path) -> None:
    async def live() -> None:
        async with serving(base, Stub([listed(1)])) as server:
            await work(server, ask.socket_path(str(base)))

    asyncio.run(live())


def test_users_are_asked_for_by_name(tmp_path: Path) -> None:
    async def work(server: QueueServer, path: str) -> None:
        assert await server.authorize(0, "authorized_mailq_users", "look") is None
        assert await server.authorize(os.geteuid(), "authorized_mailq_users", "look") is None
        refused = await server.authorize(4_000_000, "authorized_mailq_users", "look")
        assert refused == ask.Refused("denied", "User unknown(4000000) is not allowed to look")
        server.authorized = lambda parameter, user: (parameter, user) == ("authorized_flush_users", "unknown")
        assert await server.authorize(4_000_000, "authorized_flush_users", "x") is None

    in_loop(work, tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.0\r\n", HELLO + b"\xff\xff\xff\xff\0", HELLO + b"\0\0\0\3\0abc",
        HELLO + frame(ask.Done())[:-1] + b"\x63", HELLO + (300 << 10).to_bytes(4) + b"\0",
    ],
)  # fmt: skip
def test_nonsense_ends_the_connection(tmp_path: Path, data: bytes) -> None:
    async def work(server: QueueServer, path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(data)
        assert await asyncio.wait_for(reader.read(), 10) == HELLO
        writer.close()

    in_loop(work, tmp_path)


def test_one_user_has_few_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postwarden.roles.queue_server.peer_uid", lambda sock: 1234)

    async def work(server: QueueServer, path: str) -> None:
        pairs = [await asyncio.open_unix_connection(path) for _ in range(21)]
        assert await asyncio.wait_for(pairs[-1][0].read(), 10) == b""
        assert await asyncio.wait_for(pairs[0][0].readexactly(len(HELLO)), 10) == HELLO
        for _, writer in pairs:
            writer.close()

    in_loop(work, tmp_path)


def test_a_socket_of_a_dead_courier_is_taken_over_and_nobody_listens_after_the_end(tmp_path: Path) -> None:
    path = ask.socket_path(str(tmp_path))
    os.makedirs(os.path.dirname(path))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with pytest.raises(Down):
        QueueClient(str(tmp_path))
    served(tmp_path, Stub([listed(1)]), lambda queue: queue.figures())
    with pytest.raises(Down):
        QueueClient(str(tmp_path))


def test_a_long_path(tmp_path: Path) -> None:
    base = tmp_path / ("d" * 120)
    base.mkdir()
    served(base, Stub([]), lambda queue: queue.figures())
