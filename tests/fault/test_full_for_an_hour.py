"""The disk is full for an hour while mail is deferred and returned: nothing is lost, each sender hears once, deliveries
that could not be noted down are not begun, and with room again all goes on by itself."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.disks import fill, in_memory

from postwarden import pipeline
from postwarden.config.view import view
from postwarden.ipc.records import Job, Outcome
from postwarden.mail.queue import once
from postwarden.mail.status import Status, Timing
from postwarden.net.log import MailLog, MemorySink
from postwarden.schedule.courier import Courier
from postwarden.schedule.message import Delivery
from postwarden.schedule.params import CourierParams
from postwarden.schedule.receivers import Sender
from postwarden.schedule.scheduler import Scheduler
from postwarden.schedule.transports import transports
from postwarden.schedule.workers import Crew
from postwarden.spool import ledgerwriter
from postwarden.testing.config import settings
from postwarden.testing.spool import Spool

ANSWERS = {
    "ok": Status("2.0.0", "250 ok", "mx[192.0.2.1]:25"),
    "no": Status("5.1.1", "host mx[192.0.2.1] said: 550 no", "mx[192.0.2.1]:25"),
    "later": Status("4.2.0", "host mx[192.0.2.1] said: 450 later", "mx[192.0.2.1]:25"),
}
EACH = 150
BODY = b"x" * 70 + b"\r\n"
HOUR = 3600


class Remote:
    """A carrier that answers at once, as the recipient's name says; what it was sent is what the world saw."""

    def __init__(self) -> None:
        self.waiting: list[Job] = []
        self.seen: list[Job] = []

    def send(self, job: Job, fds: Sequence[int]) -> None:
        for fd in fds:
            os.close(fd)
        self.waiting.append(job)
        self.seen.append(job)

    def congested(self) -> bool:
        return False


class World:
    def __init__(self, directory: str) -> None:
        self.spool = Spool(directory)
        self.clock = self.spool.clock
        self.ledger = self.spool.ledger(grown=1 << 18)
        self.appender = self.spool.appender()
        self.log = MailLog(MemorySink(), "postfix")
        config = settings(
            relayhost="[relay.example]", delay_warning_time="30m", smtp_destination_concurrency_limit="200",
            initial_destination_concurrency="200", bounce_size_limit="2000", alias_maps="", alias_database="",
            recipient_canonical_maps="", mydestination="",
        )  # fmt: skip
        params = view(CourierParams, config)
        scheduler: Scheduler[Delivery] = Scheduler(float(params.minimal_backoff_time))
        for limits in transports(config):
            scheduler.configure(limits)
        parts = pipeline.courier(
            config, self.ledger, scheduler, clock=self.clock, log=self.log, fetch=lambda *_: pytest.fail("no facts")
        )
        self.courier = Courier(parts, scheduler, params)
        self.courier.begin()
        self.receiver = Sender(1, lambda _: None)
        self.courier.receiver_joined(self.receiver)
        self.appender.on_stored = lambda stored: self.courier.stored(self.receiver, stored)
        self.remote = Remote()
        self.crew = Crew(self.remote, 1)
        self.courier.worker_joined("carrier", self.crew)
        self.works = dict(ANSWERS)

    def store(self, name: str) -> int:
        """The code of the answer."""
        reply = self.spool.store(self.appender, BODY * 100, queue_id=name)
        self.clock.run()
        return 250 if reply is None else reply.code

    def pass_time(self, seconds: float, step: float = 30.0) -> None:
        while seconds > 0:
            self.clock.advance(step)
            self.settle()
            seconds -= step

    def settle(self) -> None:
        """Until nobody has anything to do but the disk."""
        for _ in range(20):
            jobs, self.remote.waiting = self.remote.waiting, []
            for job in jobs:
                now = self.clock.now()
                status = self.works[kind(job.queue_id)] if job.sender else ANSWERS["ok"]
                self.courier.outcome(
                    self.crew, Outcome(job.job_id, (status,) * len(job.recipients), Timing(now, 0, now))
                )
            self.clock.advance(0.01)
            passed: list[int] = []
            if not self.ledger.failing:
                self.ledger.barrier(lambda: passed.append(1))  # noqa: B023
                self.spool.pump.until(lambda: passed or self.ledger.failing)  # noqa: B023
            self.spool.pump.rest()
            self.clock.run()
            if not jobs and not self.remote.waiting:
                return

    def queue(self) -> set[str]:
        page, cursor = self.ledger.page(None)
        listed = page
        while cursor is not None:
            page, cursor = self.ledger.page(cursor)
            listed = listed + page
        return {message.queue_id for message in once(listed)}


def kind(queue_id: str) -> str:
    return re.sub(r"[0-9]", "", queue_id).lower()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with in_memory(tmp_path / "disk", "size=24m") as disk:
        yield disk


@pytest.mark.root
def test_full_for_an_hour(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgerwriter, "_PAUSE", 0.001)
    world = World(str(small_disk))
    names = [f"{name.upper()}{n}" for n in range(EACH) for name in ANSWERS]
    assert {world.store(name) for name in names} == {250}
    ballast = fill(small_disk)
    world.settle()
    failed, sent = 0, 0
    for minute in range(60):
        fill(small_disk)
        before = len(world.remote.seen)
        failing = world.ledger.failing
        world.pass_time(60)
        failed += failing
        sent += len(world.remote.seen) - before if failing and world.ledger.failing else 0
        if minute % 10 == 0:
            assert world.store(f"OK{minute}999") == 452
    assert failed > 30, "the disk was not full"
    assert sent == 0, "deliveries were begun that could not be noted down"
    assert len(world.remote.waiting) == 0
    ballast.unlink()
    world.pass_time(2 * HOUR)
    assert not world.ledger.failing
    assert "queue.db can be written again" in world.spool.texts + str(world.log)
    check(world, names)
    world.spool.close()


def check(world: World, names: list[str]) -> None:
    tries = Counter(job.queue_id for job in world.remote.seen if job.sender)
    assert set(tries) == set(names)
    assert {tries[name] for name in names if kind(name) != "later"} == {1}
    told = Counter(found for job in world.remote.seen if not job.sender for found in reported(job))
    failures = {(name, "failed"): 1 for name in names if kind(name) == "no"}
    delays = {(name, "delayed"): 1 for name in names if kind(name) == "later"}
    assert told == failures | delays
    assert world.queue() == {name for name in names if kind(name) == "later"}
    world.works["later"] = ANSWERS["ok"]
    world.courier.flush()
    world.pass_time(HOUR)
    assert world.queue() == set()
    assert world.store("OK1") == 250


def reported(job: Job) -> list[tuple[str, str]]:
    """(queue id, action) of a report."""
    assert job.body is not None
    queue_id = re.search(rb"X-Postfix-Queue-ID: (\w+)", job.body)
    action = re.search(rb"\nAction: (\w+)", job.body)
    assert queue_id is not None and action is not None
    return [(queue_id[1].decode(), action[1].decode())]
