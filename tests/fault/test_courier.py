"""The courier's process, real, between receivers and carriers that are played here: who dies, and what is lost."""

import asyncio
import os
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from postwarden.config.settings import load
from postwarden.config.view import view
from postwarden.ipc.channel import Channel
from postwarden.ipc.records import (
    Drain,
    Job,
    Link,
    Outcome,
    Ready,
    SlowDown,
    Start,
    Stored,
    ToDeliverer,
    ToMaster,
    ToReceiver,
)
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.reply import Reply
from postwarden.mail.status import Status, Timing
from postwarden.net.clock import LoopClock
from postwarden.roles.children import spawn
from postwarden.spool.appender import Appender
from postwarden.spool.params import SpoolParams

SENT = Status("2.0.0", "250 2.0.0 Ok")
HEAD = b"Subject: test\r\n\r\n"
MASTER_CF = """\
smtp    unix - - n - - smtp
relay   unix - - n - - smtp
local   unix - n n - - local
error   unix - - n - - error
retry   unix - - n - - error
discard unix - - n - - discard
"""


class Carrier:
    """Answers each job after `delay` seconds; 0: at once, negative: never."""

    def __init__(self, host: "Host", delay: float = 0.0) -> None:
        self.host, self.delay = host, delay
        self.jobs: list[Job] = []
        self.channel: Channel[Job] = Channel(host.link("carrier"), ToDeliverer, self._job, lambda _: None)

    def _job(self, job: Job, fds: list[int]) -> None:
        self.jobs.append(job)
        for fd in fds:
            os.close(fd)
        if self.delay > 0:
            asyncio.get_running_loop().call_later(self.delay, self._answer, job)
        elif not self.delay:
            self._answer(job)

    def _answer(self, job: Job) -> None:
        self.host.delivered[job.queue_id] += 1
        self.channel.send(Outcome(job.job_id, (SENT,) * len(job.recipients), Timing(1.0, 1.0, 1.0)))


class Receiver:
    """Stores messages for real, and tells the courier unless it is `mute`."""

    def __init__(self, host: "Host", instance: int = 1) -> None:
        self.host, self.instance = host, instance
        self.mute = False
        self.slow: list[float] = []
        loop = asyncio.get_running_loop()
        params = view(SpoolParams, host.settings)
        self.appender = Appender(params, instance, LoopClock(loop), loop.call_soon_threadsafe, host.events.append)
        self.appender.on_stored = self._tell
        self.appender.on_sealed = lambda record: self.channel.send(record)
        self.join()

    def join(self) -> None:
        sock = self.host.link("receiver", self.instance)
        self.channel: Channel[ToReceiver] = Channel(sock, ToReceiver, self._told, lambda _: None)

    def _tell(self, stored: Stored) -> None:
        if not self.mute:
            self.channel.send(stored)

    def _told(self, record: ToReceiver, fds: list[int]) -> None:
        if isinstance(record, SlowDown):
            self.slow.append(record.seconds)

    def store(self, address: str = "user@[192.0.2.1]", body: bytes = b"hello\r\n") -> None:
        draft = self.appender.draft()
        draft.write(body)
        queue_id = self.appender.new_queue_id()
        size = len(HEAD) + len(body)
        envelope = Envelope(queue_id, 1_700_000_000.0, "sender@example.org", (Recipient(address),), size)

        def done(fault: Reply | None) -> None:
            assert fault is None
            self.host.stored.add(queue_id)

        draft.commit(envelope, HEAD, done)


class Host:
    """Plays the master."""

    def __init__(self, directory: Path, main_cf: str) -> None:
        queue = directory / "queue"
        queue.mkdir()
        (directory / "main.cf").write_text(
            f"compatibility_level = 3.6\nqueue_directory = {queue}\nmyhostname = mx.example.com\n"
            f"relay_domains =\nmydestination = here.example\ninet_interfaces = 127.0.0.1\n{main_cf}"
        )
        (directory / "master.cf").write_text(MASTER_CF)
        self.settings = load(str(directory))
        self.log = directory / "log"
        self.events: list[object] = []
        self.stored: set[str] = set()
        self.delivered: Counter[str] = Counter()
        self.instances = 0
        self.pid = 0

    async def start(self) -> None:
        self.pid, sock = spawn("courier")
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.control: Channel[ToMaster] = Channel(sock, ToMaster, self._heard, lambda _: None)
        fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.control.send(Start("courier", 1, 1, msgspec.msgpack.encode(self.settings), "", log_to="fd"), [fd])
        await asyncio.wait_for(self.ready, 60.0)

    def _heard(self, record: ToMaster, fds: list[int]) -> None:
        if isinstance(record, Ready) and not self.ready.done():
            self.ready.set_result(None)

    def link(self, role: str, instance: int = 0) -> socket.socket:
        self.instances += 1
        ours, theirs = socket.socketpair()
        self.control.send(Link(role, instance or self.instances, 1), [theirs.detach()])
        return ours

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.pid = 0
        self.control.close()

    async def stop(self) -> int:
        self.control.send(Drain(True))
        status = await asyncio.to_thread(os.waitpid, self.pid, 0)
        self.pid = 0
        self.control.close()
        return os.waitstatus_to_exitcode(status[1])

    def memory(self) -> int:
        """Resident, in KiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1])
        raise ProcessLookupError

    async def until(self, happened: Callable[[], bool], seconds: float = 60.0) -> None:
        async with asyncio.timeout(seconds):
            while not happened():  # noqa: ASYNC110  (the events are counts in several places)
                await asyncio.sleep(0.01)

    def all_delivered(self) -> bool:
        return self.stored <= self.delivered.keys()


def run(directory: Path, scene: Callable[[Host], Awaitable[None]], main_cf: str = "") -> Host:
    async def play() -> Host:
        async with host(directory, main_cf) as made:
            await scene(made)
        return made

    return asyncio.run(play())


@asynccontextmanager
async def host(directory: Path, main_cf: str) -> AsyncIterator[Host]:
    made = Host(directory, main_cf)
    await made.start()
    try:
        yield made
    finally:
        if made.pid:
            made.kill()


def test_messages_pass_and_the_courier_ends_in_order(tmp_path: Path) -> None:
    async def scene(host: Host) -> None:
        Carrier(host)
        receiver = Receiver(host)
        for size in (7, 5_000, 300_000):
            receiver.store(body=b"x" * (size - 2) + b"\r\n")
        await host.until(lambda: len(host.delivered) == 3)
        assert await host.stop() == 0
        receiver.appender.close()

    made = run(tmp_path, scene)
    assert set(made.delivered.values()) == {1}
    log = made.log.read_text()
    assert log.count(": removed") == 3


def test_kill_the_courier_in_a_loop(tmp_path: Path) -> None:
    kills = 6

    async def scene(host: Host) -> None:
        Carrier(host, 0.005)
        receiver = Receiver(host)
        for _ in range(kills):
            for _ in range(200):
                receiver.store()
                await asyncio.sleep(0.0005)
            host.kill()
            for _ in range(20):
                receiver.store()
            await host.start()
            receiver.join()
            Carrier(host, 0.005)
        await host.until(host.all_delivered)
        assert await host.stop() == 0
        receiver.appender.close()

    made = run(tmp_path, scene)
    assert len(made.stored) == kills * 220
    again = sum(made.delivered.values()) - len(made.delivered)
    # Open deliveries (the window of the one destination, 20) and one commit group for each kill.
    assert again <= kills * 2 * 20


def test_a_carrier_that_dies_costs_its_open_jobs_a_second_time_and_no_more(tmp_path: Path) -> None:
    async def scene(host: Host) -> None:
        stuck = Carrier(host, -1)
        receiver = Receiver(host)
        for _ in range(30):
            receiver.store()
        await host.until(lambda: len(stuck.jobs) == 5)
        stuck.channel.close()
        healthy = Carrier(host)
        await host.until(lambda: len(host.delivered) == 30)
        assert len(healthy.jobs) == 30
        receiver.appender.close()

    assert set(run(tmp_path, scene).delivered.values()) == {1}


def test_what_a_dead_receiver_never_told_is_delivered(tmp_path: Path) -> None:
    async def scene(host: Host) -> None:
        Carrier(host)
        receiver = Receiver(host)
        receiver.store()
        await host.until(lambda: len(host.delivered) == 1)
        receiver.mute = True
        for _ in range(50):
            receiver.store()
        await host.until(lambda: len(host.stored) == 51)
        receiver.appender.close()
        receiver.channel.close()
        await host.until(host.all_delivered)

    assert set(run(tmp_path, scene).delivered.values()) == {1}


def test_mail_that_nobody_told_of_is_found_at_the_start(tmp_path: Path) -> None:
    async def scene(host: Host) -> None:
        receiver = Receiver(host)
        receiver.mute = True
        for _ in range(50):
            receiver.store()
        await host.until(lambda: len(host.stored) == 50)
        receiver.appender.close()
        host.kill()
        await host.start()
        Carrier(host)
        await host.until(host.all_delivered)

    assert set(run(tmp_path, scene).delivered.values()) == {1}


def test_a_receiver_that_talks_nonsense_loses_its_channel_and_nothing_else(tmp_path: Path) -> None:
    async def scene(host: Host) -> None:
        Carrier(host)
        good, evil = Receiver(host, 1), Receiver(host, 2)
        good.store()
        await host.until(lambda: len(host.delivered) == 1)
        envelope = Envelope("EVIL", 0.0, "", (Recipient("a@[192.0.2.1]"),), 1)
        for segment in (99, 1 << 62, -1):
            evil.channel.send(Stored(segment, 0, 10, envelope, HEAD, b""))
        sock = host.link("receiver", 3)
        await asyncio.get_running_loop().sock_sendall(sock, b"PW01\xff\xff\xff\xff\x00")
        sock.close()
        good.store()
        await host.until(host.all_delivered)
        good.appender.close()
        evil.appender.close()

    made = run(tmp_path, scene)
    assert "EVIL" not in made.delivered


def test_memory_is_bounded_when_much_comes_in_and_little_goes_out(tmp_path: Path) -> None:
    async def scene(host: Host) -> None:
        carrier = Carrier(host, 0.4)  # 20 at a time: 50 a second
        receiver = Receiver(host)
        body = b"x" * 5000 + b"\r\n"
        await host.until(lambda: bool(host.pid))
        before = host.memory()
        for n in range(15_000):
            receiver.store(body=body)
            if n % 50 == 49:
                await asyncio.sleep(0.01)
        await host.until(lambda: len(host.stored) == 15_000)
        assert receiver.slow == [1.0]
        assert host.memory() - before < 60_000
        carrier.delay = 0.0
        receiver.appender.close()

    run(tmp_path, scene, "qmgr_message_active_limit = 2000\n")
