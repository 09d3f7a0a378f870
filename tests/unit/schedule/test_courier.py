import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from tests.unit.schedule.route import Route

from postwarden.config.view import view
from postwarden.ipc.records import Credit, Forward, Job, Outcome, SlowDown, Stored, ToReceiver
from postwarden.mail.decision import Pending
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.queue import HOLD, Change, Content, Entry, NewMessage, SpoolError
from postwarden.mail.round import Kind, Remark, Report, Round
from postwarden.mail.status import Status, Timing
from postwarden.net.log import MailLog, MemorySink
from postwarden.schedule.courier import Courier
from postwarden.schedule.message import Delivery
from postwarden.schedule.params import CourierParams
from postwarden.schedule.parts import Parts
from postwarden.schedule.planning import Planner
from postwarden.schedule.receivers import Sender
from postwarden.schedule.scheduler import Scheduler
from postwarden.schedule.spawning import Spawner
from postwarden.schedule.transports import transports
from postwarden.schedule.workers import Crew
from postwarden.testing.clock import VirtualClock
from postwarden.testing.config import settings
from postwarden.testing.ledger import MemoryLedger

SENT = Status("2.0.0", "250 ok", "mx[192.0.2.1]:25")
BOUNCED = Status("5.1.1", "host mx[192.0.2.1] said: 550 no", "mx[192.0.2.1]:25")
DEFERRED = Status("4.2.0", "host mx[192.0.2.1] said: 450 later", "mx[192.0.2.1]:25")
REFUSED = Status("4.4.1", "connect to mx[192.0.2.1]:25: Connection refused")
START = VirtualClock().now()


class DomainResolver:
    """user@transport.nexthop"""

    def resolve(self, recipient: str, sender: str | None = None) -> Route:
        if recipient.startswith("fault@"):
            raise LookupError
        transport, _, nexthop = recipient.rpartition("@")[2].partition(".")
        return Route(transport, nexthop, recipient)


class PlainReporter:
    def traces(self, envelope: Envelope, index: int, status: Status, *, warned: bool, told: bool) -> bool:
        return True

    def reports(self, envelope: Envelope, what: Round) -> list[Report | Remark]:
        kinds = (
            (Kind.FAILURE, what.failed),
            (Kind.EXPIRY, what.expired),
            (Kind.DELAY, what.late),
            (Kind.SUCCESS, what.traced),
        )
        found: list[Report | Remark] = []
        for kind, outcomes in kinds:
            if outcomes and envelope.sender:
                found.append(Report(kind, envelope.sender, outcomes, _LOG[kind]))
        return found

    def compose(self, report: Report, envelope: Envelope, content: Content, queue_id: str) -> NewMessage:
        outcomes = report.outcomes
        text = f"{sorted(outcomes)[0][0]} of {len(outcomes)}: {outcomes[0][1].text}".encode()
        recipients = (Recipient(envelope.sender),)
        return NewMessage(Envelope(queue_id, START, "", recipients, len(text)), b"", text)


_LOG = {
    Kind.FAILURE: "sender non-delivery notification",
    Kind.EXPIRY: "sender non-delivery notification",
    Kind.DELAY: "sender delay notification",
    Kind.SUCCESS: "sender delivery status notification",
}


class Remote:
    """A carrier that does nothing by itself."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.fds: list[int] = []
        self.full = False

    def send(self, job: Job, fds: Sequence[int]) -> None:
        self.jobs.append(job)
        self.fds += fds

    def congested(self) -> bool:
        return self.full


class World:
    def __init__(self, master_cf: str | None = None, *, lag: float = 0.0, **parameters: str) -> None:
        self.clock = VirtualClock()
        self.sink = MemorySink()
        self.log = MailLog(self.sink, "postfix")
        self.ledger = MemoryLedger(self.clock.call_soon)
        self.resolver: DomainResolver = DomainResolver()
        self.fetches: list[tuple[Callable[[], Awaitable[None]], Callable[[], None]]] = []
        config = settings(**parameters) if master_cf is None else settings("", master_cf, **parameters)
        params = view(CourierParams, config)
        self.scheduler: Scheduler[Delivery] = Scheduler(float(params.minimal_backoff_time))
        for limits in transports(config):
            self.scheduler.configure(limits)
        planner = Planner(
            self, self.scheduler.limits, faults=(LookupError,), delimiter="+", deferred_transports=("relay",)
        )
        self.clerk: Callable[[Envelope, bytes], tuple[Envelope, bytes] | Status] = lambda *both: both
        spawner = Spawner(
            PlainReporter(),
            lambda envelope, head: self.clerk(envelope, head),
            new_queue_id=self.ledger.new_queue_id,
            now=self.clock.now,
            trace=lambda queue_id, now: f"Received: by mx.example.com; id {queue_id}\r\n".encode(),
        )
        inside = {
            "error": lambda name, nexthop, recipient, sender: Status("5.1.2", nexthop),
            "discard": lambda *_: Status("2.0.0", "x"),
        }
        parts = Parts(
            self.ledger, self.clock, self.log, planner, spawner, inside,
            lambda *both: self.fetches.append(both), list, lambda *both: self.clerk(*both),
            lambda site: self.served(site), lambda *_: True,
            lambda queue_id, now: f"Received: again as {queue_id}\r\n".encode(), 8,
        )  # fmt: skip
        self.parts = parts
        self.courier = Courier(parts, self.scheduler, params, lag=lag)
        self.told: list[ToReceiver] = []
        self.receiver = Sender(3, self.told.append)
        self.courier.begin()
        self.courier.receiver_joined(self.receiver)
        self.remote, self.crew = self.hire()
        self.clock.run()
        self._stored = 0

    def resolve(self, recipient: str, sender: str | None = None) -> Route:
        return self.resolver.resolve(recipient)

    def served(self, site: str) -> bool:
        return site == "slow.example"

    def hire(self, kind: str = "carrier", generation: int = 1) -> tuple[Remote, Crew]:
        remote = Remote()
        crew = Crew(remote, generation)
        self.courier.worker_joined(kind, crew)
        return remote, crew

    def store(
        self,
        *addresses: str,
        sender: str = "joe@example.org",
        body: bytes | None = b"hello\r\n",
        verp: str = "",
        hold: bool = False,
    ) -> None:
        self._stored += 1
        recipients = tuple(Recipient(address) for address in addresses)
        envelope = Envelope(f"ID{self._stored}", self.clock.now(), sender, recipients, 100, verp=verp, hold=hold)
        stored = Stored(7, self._stored * 512, 512, envelope, b"Subject: hi\r\n\r\n", body)
        self.courier.stored(self.receiver, stored)

    def answer(self, job: Job, *results: Status, fault: Status | None = None, crew: Crew | None = None) -> None:
        timing = Timing(self.clock.now(), 0.0, self.clock.now())
        self.courier.outcome(crew or self.crew, Outcome(job.job_id, results or (SENT,), timing, fault))
        self.clock.run()

    def lines(self) -> list[str]:
        lines = [line.partition("/")[2] for line in self.sink.lines]
        self.sink.lines.clear()
        return [line.partition("[")[0] + line.partition("]")[2] for line in lines]


def test_a_message_goes_through() -> None:
    world = World()
    world.store("ann@smtp.example.com")
    world.clock.run()
    (job,) = world.remote.jobs
    assert (job.transport, job.nexthop, job.queue_id) == ("smtp", "example.com", "ID1")
    assert (job.head, job.body) == (b"Subject: hi\r\n\r\n", b"hello\r\n")
    assert job.active == world.clock.now()
    world.answer(job)
    assert world.ledger.held == {}
    assert world.ledger.changes[0].finals == ((0, SENT),)
    assert world.lines() == [
        "qmgr: ID1: from=<joe@example.org>, size=100, nrcpt=1 (queue active)",
        "qmgr: ID1: removed",
    ]
    assert world.courier.figures == {"active": 0, "waiting": 0, "delivering": 0}


def test_nothing_is_removed_before_it_is_durable() -> None:
    world = World()
    world.ledger._later = None
    world.store("ann@smtp.example.com")
    world.clock.run()
    world.answer(world.remote.jobs[0])
    assert "qmgr: ID1: removed" not in world.lines()
    world.ledger.commit()
    assert world.lines() == ["qmgr: ID1: removed"]


def test_recipients_leave_together_by_next_hop() -> None:
    world = World(smtp_destination_recipient_limit="2")
    world.store("a@smtp.x.example", "b@smtp.y.example", "c@smtp.X.example", "d@smtp.x.example")
    world.clock.run()
    grouped = [(job.nexthop, [r.address[0] for r in job.recipients]) for job in world.remote.jobs]
    assert grouped == [("x.example", ["a", "c"]), ("y.example", ["b"]), ("x.example", ["d"])]


def test_outcomes_are_gathered_before_they_are_committed() -> None:
    world = World(lag=0.005, smtp_destination_concurrency_limit="0", initial_destination_concurrency="100")
    for _ in range(70):
        world.store("ann@smtp.example.com")
    world.clock.run()
    for job in world.remote.jobs[:3]:
        world.answer(job)
    assert world.ledger.changes == []
    (entry,) = [e for e in world.ledger.held.values() if e.envelope.queue_id == "ID2"]
    world.ledger.held[(0, 99)] = world.ledger.held.pop(entry.key)
    world.ledger.contents[(0, 99)] = world.ledger.contents.pop(entry.key)
    entry.key = (0, 99)  # the ledger moved it meanwhile
    world.clock.advance(0.005)
    assert [change.key for change in world.ledger.changes] == [(7, 512), (0, 99), (7, 1536)]
    for job in world.remote.jobs[3:70]:
        world.answer(job)
    assert len(world.ledger.changes) == 67
    world.courier.drain(lambda: None)
    world.clock.advance(0.005)
    assert len(world.ledger.changes) == 70


def test_what_is_sent_is_settled_at_once_and_failures_with_their_report() -> None:
    world = World()
    world.store("a@smtp.x.example", "b@smtp.y.example", "c@smtp.z.example")
    world.clock.run()
    x, y, z = world.remote.jobs
    world.answer(y, BOUNCED)
    assert world.ledger.changes == []
    world.answer(x)
    assert [c.finals for c in world.ledger.changes] == [((0, SENT),)]
    world.lines()
    world.answer(z, DEFERRED)
    last = world.ledger.changes[1]
    assert (last.finals, last.deferred) == (((1, BOUNCED),), ((2, DEFERRED),))
    (report,) = last.spawned
    assert report.envelope.recipients == (Recipient("joe@example.org"),)
    assert world.lines() == [
        "bounce: ID1: sender non-delivery notification: NEW1",
        "qmgr: NEW1: from=<>, size=39, nrcpt=1 (queue active)",
        "error: NEW1: to=<joe@example.org>, relay=none, delay=0, delays=0/0/0/0, dsn=4.3.0, status=deferred"
        " (mail transport unavailable)",
    ]


def test_the_null_sender_gets_no_report() -> None:
    world = World()
    world.store("a@smtp.x.example", sender="")
    world.clock.run()
    world.answer(world.remote.jobs[0], BOUNCED)
    assert world.ledger.changes[0].spawned == ()
    assert world.lines()[-1] == "qmgr: ID1: removed"


def test_soft_bounce_defers() -> None:
    world = World(soft_bounce="yes")
    world.store("a@smtp.x.example")
    world.clock.run()
    world.answer(world.remote.jobs[0], BOUNCED)
    assert world.ledger.changes[0].deferred == ((0, BOUNCED.softened()),)


def test_deferred_mail_is_tried_again_later_and_later() -> None:
    world = World(queue_run_delay="10s")
    world.store("a@smtp.x.example")
    world.clock.run()
    begun = world.clock.now()
    tries = []
    for _ in range(6):
        world.answer(world.remote.jobs[-1], DEFERRED)
        count = len(world.remote.jobs)
        while len(world.remote.jobs) == count:
            world.clock.advance(10.0)
        tries.append(round(world.clock.now() - begun))
    assert tries == [300, 600, 1200, 2400, 4800, 8800]


def test_the_calendar_may_jump() -> None:
    world = World(queue_run_delay="10s")
    world.store("a@smtp.x.example", "b@smtp.x.example")
    world.clock.run()
    world.clock.jump(-10_000_000)
    world.answer(world.remote.jobs[-1], DEFERRED, SENT)
    world.clock.advance(320)
    assert len(world.remote.jobs) == 2
    world.clock.jump(+100_000_000)
    world.answer(world.remote.jobs[-1], DEFERRED)
    world.clock.advance(4020)
    assert len(world.remote.jobs) == 3
    assert not any(change.spawned for change in world.ledger.changes)


def test_one_due_time_that_is_too_late_is_found_among_others() -> None:
    world = World()
    for _ in range(2):
        world.store("a@smtp.x.example")
    world.clock.run()
    for job in world.remote.jobs[:]:
        world.answer(job, DEFERRED)
    first, second = world.ledger.away.values()
    first.due, second.due = world.clock.now() + 1e8, world.clock.now() + 4000
    world.clock.advance(301)
    assert {job.queue_id for job in world.remote.jobs[2:]} == {"ID1", "ID2"}


def test_outcomes_of_one_message_are_one_change() -> None:
    world = World(lag=0.02, smtp_destination_recipient_limit="1", qmgr_message_recipient_minimum="1")
    world.store(*(f"{name}@smtp.{name}.example" for name in "abcdef"))
    world.store("z@smtp.z.example")
    world.clock.run()
    jobs = [job for job in world.remote.jobs if job.queue_id == "ID1"]
    (other,) = [job for job in world.remote.jobs if job.queue_id == "ID2"]
    for job in (*jobs[:3], other, *jobs[3:5]):
        world.answer(job)
    world.clock.advance(0.02)
    finals = [[index for index, _ in change.finals] for change in world.ledger.changes]
    assert finals == [[0, 1, 2], [0], [3, 4]]
    world.answer(jobs[5], DEFERRED)
    world.clock.advance(0.02)
    assert world.ledger.changes[-1].due and world.courier._rounds.settler.busy == 0
    world.courier.flush()
    world.clock.run()
    world.answer(world.remote.jobs[-1])
    world.clock.advance(0.02)
    assert world.ledger.held == {} and world.courier._rounds.settler.busy == 0


def test_a_bug_with_one_address_keeps_neither_its_message_nor_those_behind_it() -> None:
    world = World(qmgr_message_active_limit="8")

    class Odd(DomainResolver):
        def resolve(self, recipient: str, sender: str | None = None) -> Route:
            if recipient.startswith("bug"):
                raise UnicodeDecodeError("idna", b"", 0, 1, "bug")
            return super().resolve(recipient)

    world.resolver = Odd()
    for n in range(20):
        world.store(f"{'bug' if n % 3 == 0 else 'ann'}{n}@smtp.x{n}.example")
    world.clock.advance(10)
    while world.remote.jobs:
        world.answer(world.remote.jobs.pop())
        world.clock.advance(1)
    assert world.courier.figures == {"active": 0, "waiting": 0, "delivering": 0}
    assert len(world.ledger.away) == 7 and not world.ledger.held
    assert any("internal error: UnicodeDecodeError" in line for line in world.lines())


def test_an_orderly_end_waits_for_what_is_delivered_and_not_settled() -> None:
    """Its forward is to be prepared, and a table has to be asked for that."""
    world = World()
    agent, crew = world.hire("agent")
    world.store("list@local.x")
    world.clock.run()

    async def fact() -> None: ...

    def clerk(envelope: Envelope, head: bytes) -> tuple[Envelope, bytes]:
        raise Pending(fact)

    world.clerk = clerk
    world.courier.forwarded(crew, Forward(agent.jobs[0].job_id, 0, "joe@example.org", (Recipient("c@smtp.z"),)))
    world.answer(agent.jobs[0], crew=crew)
    over: list[bool] = []
    world.courier.drain(lambda: over.append(True))
    world.clock.run()
    assert not over
    world.clerk = lambda *both: both
    world.fetches.pop()[1]()
    world.clock.run()
    assert over and [change.finals for change in world.ledger.changes] == [((0, SENT),)]


def test_sites_of_fast_flush_are_waited_for_together() -> None:
    world = World()
    world.store("a@smtp.one.example", "b@smtp.two.example", "c@slow.example")
    world.clock.run()
    known: set[str] = set()
    asked: list[str] = []

    def served(site: str) -> bool:
        async def fact() -> None:
            known.add(site)

        if site not in known:
            asked.append(site)
            raise Pending(fact)
        return site != "smtp.two.example"

    world.served = served  # type: ignore[method-assign]
    while world.remote.jobs:
        job = world.remote.jobs.pop()
        world.answer(job, *[DEFERRED] * len(job.recipients))
    assert not any(change.deferred for change in world.ledger.changes)
    (fetch, then), *others = world.fetches
    assert not others
    asyncio.run(fetch())  # type: ignore[arg-type]
    then()
    world.clock.run()
    (change,) = [change for change in world.ledger.changes if change.deferred]
    assert sorted(change.sites) == sorted(known - {"smtp.two.example"})
    assert asked == sorted(known) and len(asked) == 3


def test_due_times_of_a_clock_that_was_ahead_are_not_believed() -> None:
    world = World(queue_run_delay="10s")
    world.store("a@smtp.x.example")
    world.clock.run()
    world.answer(world.remote.jobs[-1], DEFERRED)
    for entry in world.ledger.away.values():
        entry.due += 1e8
    world.clock.advance(20)
    assert len(world.remote.jobs) == 2


def test_flush_tries_at_once_even_a_dead_destination() -> None:
    world = World(initial_destination_concurrency="1")
    world.store("a@smtp.x.example")
    world.clock.run()
    world.answer(world.remote.jobs[0], REFUSED, fault=REFUSED)
    world.courier.flush()
    world.clock.run()
    assert len(world.remote.jobs) == 2


def test_a_reload_begins_a_queue_run_and_gives_dead_destinations_another_chance() -> None:
    world = World(initial_destination_concurrency="1", queue_run_delay="1000s")
    world.store("a@smtp.dead.example")
    world.clock.run()
    world.answer(world.remote.jobs[0], REFUSED, fault=REFUSED)
    world.clock.advance(1.0)
    changed = {"queue_run_delay": "10s", "minimal_backoff_time": "20s"}
    world.courier.reconfigure(world.parts, view(CourierParams, settings(**changed)))
    world.store("b@smtp.dead.example")
    world.clock.run()
    assert [job.recipients[0].address for job in world.remote.jobs[1:]] == ["b@smtp.dead.example"]
    world.answer(world.remote.jobs[1], DEFERRED)
    world.clock.advance(30)
    assert [job.recipients[0].address for job in world.remote.jobs[2:]] == ["b@smtp.dead.example"]
    assert world.courier.whereabouts().next_run - world.clock.now() <= 10


def test_a_dead_destination_defers_what_waits_for_it_and_nobody_else() -> None:
    world = World(initial_destination_concurrency="1")
    for name in ("a@smtp.dead", "b@smtp.dead", "c@smtp.alive"):
        world.store(name)
    world.clock.run()
    assert [job.nexthop for job in world.remote.jobs] == ["dead", "alive"]
    world.lines()
    world.clock.advance(2.0)
    world.answer(world.remote.jobs[0], REFUSED, fault=REFUSED)
    assert world.lines() == [
        "error: ID2: to=<b@smtp.dead>, relay=none, delay=2, delays=0/2/0/0, dsn=4.4.1, status=deferred"
        " (delivery temporarily suspended: connect to mx[192.0.2.1]:25: Connection refused)"
    ]
    world.store("d@smtp.dead")
    world.clock.run()
    assert len(world.remote.jobs) == 2
    assert len(world.ledger.away) == 3


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("fault@smtp.x", "dsn=4.3.0, status=deferred (address resolver failure)"),
        ("a@nowhere.x", "dsn=4.3.0, status=deferred (mail transport unavailable)"),
        ("a@relay.x", "dsn=4.3.2, status=deferred (deferred transport)"),
        ("a@error.gone", "dsn=5.1.2, status=bounced (gone)"),
        ("a@discard.x", "dsn=2.0.0, status=sent (x)"),
    ],
)
def test_what_needs_no_worker_ends_at_once(address: str, status: str) -> None:
    world = World()
    world.store(address, sender="")
    world.clock.run()
    assert world.remote.jobs == []
    assert world.lines()[1].endswith(status)
    assert len(world.ledger.changes) == 1


def test_a_resolver_that_waits_holds_up_only_its_message() -> None:
    world = World()

    class Slow(DomainResolver):
        known = False

        def resolve(self, recipient: str, sender: str | None = None) -> Route:
            if recipient.startswith("slow") and not self.known:
                raise Pending(lambda: None)  # type: ignore[arg-type, return-value]
            return super().resolve(recipient)

    world.resolver = Slow()
    world.store("slow@smtp.x")
    world.store("a@smtp.x")
    world.clock.run()
    assert [job.queue_id for job in world.remote.jobs] == ["ID2"]
    Slow.known = True
    world.fetches[0][1]()
    world.clock.run()
    assert [job.queue_id for job in world.remote.jobs] == ["ID2", "ID1"]


def test_jobs_of_a_dead_carrier_are_tried_again_by_another_and_then_deferred() -> None:
    world = World()
    for n in range(3):
        world.store(f"a{n}@smtp.x{n}")
    world.clock.run()
    world.answer(world.remote.jobs[0])
    world.courier.worker_left("carrier", world.crew)
    second, crew = world.hire()
    world.clock.run()
    assert sorted(job.queue_id for job in second.jobs) == ["ID2", "ID3"]
    assert second.jobs[0].body == b"hello\r\n"
    world.courier.outcome(crew, Outcome(second.jobs[0].job_id, (SENT,), Timing(0, 0, 0)))
    world.lines()
    world.courier.worker_left("carrier", crew)
    third, _ = world.hire()
    world.clock.run()
    assert third.jobs == []
    assert world.lines()[0].endswith("dsn=4.3.0, status=deferred (unknown mail transport error)")
    assert len(world.ledger.away) == 1
    assert world.courier.figures == {"active": 0, "waiting": 0, "delivering": 0}


def test_an_outcome_of_a_job_that_nobody_knows_is_nothing() -> None:
    world = World()
    world.store("a@smtp.x")
    world.clock.run()
    world.courier.outcome(world.crew, Outcome(99, (SENT,), Timing(0, 0, 0)))
    world.courier.forwarded(world.crew, Forward(99, 0, "", ()))
    world.courier.forwarded(world.crew, Forward(1, 5, "", ()))
    assert world.ledger.changes == []


@pytest.mark.parametrize("results", [(), (SENT, SENT), (Status("", ""),), (Status("9.9.9", "x"),)])
def test_a_result_that_makes_no_sense_is_a_deferral(results: tuple[Status, ...]) -> None:
    world = World()
    world.store("a@smtp.x")
    world.clock.run()
    job = world.remote.jobs[0]
    world.courier.outcome(world.crew, Outcome(job.job_id, results, Timing(0, 0, 0)))
    world.clock.run()
    assert world.ledger.changes[0].deferred[0][1].code == "4.3.0"


def test_a_forward_is_stored_with_the_recipient_that_it_settles() -> None:
    world = World()
    agent, crew = world.hire("agent")
    world.store("list@local.here")
    world.clock.run()
    (job,) = agent.jobs
    new = (Recipient("x@smtp.x", "list@local.here"), Recipient("y@smtp.y", "list@local.here"))
    world.courier.forwarded(crew, Forward(job.job_id, 0, "owner-list@here", new))
    world.answer(job, SENT, crew=crew)
    (change,) = world.ledger.changes
    (made,) = change.spawned
    assert change.finals == ((0, SENT),)
    assert (made.envelope.sender, made.envelope.recipients) == ("owner-list@here", new)
    assert made.body_of == change.key
    assert made.head == (
        b"Received: by mx.example.com; id NEW1\r\nDelivered-To: list@local.here\r\nSubject: hi\r\n\r\n"
    )
    assert [job.nexthop for job in world.remote.jobs] == ["x", "y"]
    assert world.remote.jobs[0].body == b"hello\r\n"


def test_a_forward_by_a_transport_is_a_message_that_goes_there() -> None:
    world = World()
    agent, crew = world.hire("agent")
    world.store("team@local.here")
    world.clock.run()
    (job,) = agent.jobs
    forward = Forward(job.job_id, 0, "s@here", (Recipient("a@local.here"),), "smtp", "box", "local")
    world.courier.forwarded(crew, forward)
    world.answer(job, SENT, crew=crew)
    (made,) = world.ledger.changes[0].spawned
    assert made.envelope.filter == "smtp:box"
    assert [(job.transport, job.nexthop) for job in world.remote.jobs] == [("smtp", "box")]


def handed_on(world: World, job: Job, crew: Crew, transport: str, nexthop: str = "box") -> None:
    """The agent gives the first recipient of a job to another transport."""
    world.courier.forwarded(crew, Forward(job.job_id, 0, "", (), transport, nexthop))
    world.answer(job, SENT, crew=crew)


def test_a_recipient_that_is_handed_on_has_the_outcome_of_the_other_transport() -> None:
    world = World()
    agent, crew = world.hire("agent")
    world.store("joe@local.here", "ann@smtp.x")
    world.clock.run()
    (job,) = agent.jobs
    handed_on(world, job, crew, "smtp")
    assert world.ledger.changes == []
    onward = next(job for job in world.remote.jobs if job.nexthop == "box")
    assert (onward.queue_id, onward.recipients) == (job.queue_id, (Recipient("joe@local.here"),))
    assert onward.body == b"hello\r\n"
    world.answer(onward, BOUNCED)
    world.answer(next(job for job in world.remote.jobs if job.nexthop == "x"))
    finals = [final for change in world.ledger.changes for final in change.finals]
    assert sorted(finals) == [(0, BOUNCED), (1, SENT)]


def test_a_recipient_that_is_handed_on_to_nobody_waits() -> None:
    world = World()
    agent, crew = world.hire("agent")
    world.store("joe@local.here")
    world.clock.run()
    handed_on(world, agent.jobs[0], crew, "nosuch")
    world.clock.run()
    (change,) = world.ledger.changes
    assert [(index, status.code) for index, status in change.deferred] == [(0, "4.3.0")]


def test_a_recipient_is_not_handed_on_for_ever() -> None:
    world = World()
    agent, crew = world.hire("agent")
    world.store("joe@local.here")
    world.clock.run()
    for turn in range(100):
        if len(agent.jobs) <= turn:
            break
        handed_on(world, agent.jobs[turn], crew, "local")
    assert len(agent.jobs) == 6
    assert world.ledger.changes[0].deferred[0][1].code == "4.3.5"


def test_what_is_put_away_is_not_handed_on() -> None:
    world = World()
    agent, crew = world.hire("agent")
    world.store("joe@local.here")
    world.clock.run()
    (message,) = world.courier._rounds.messages.values()
    over: list[bool] = []
    world.courier._rounds.interrupt(message, HOLD, lambda: over.append(True))
    handed_on(world, agent.jobs[0], crew, "smtp")
    assert not world.remote.jobs
    (change,) = world.ledger.changes
    assert (change.finals, change.due, over) == ((), HOLD, [True])


def test_a_forward_of_a_recipient_that_failed_is_dropped() -> None:
    world = World()
    agent, crew = world.hire("agent")
    world.store("list@local.here")
    world.clock.run()
    world.courier.forwarded(crew, Forward(agent.jobs[0].job_id, 0, "", (Recipient("x@smtp.x"),)))
    world.answer(agent.jobs[0], DEFERRED, crew=crew)
    assert world.ledger.changes[0].spawned == ()


def forwarding(world: World, *, sender: str = "joe@discard.x") -> tuple[Job, Crew]:
    agent, crew = world.hire("agent")
    world.store("list@local.here", sender=sender)
    world.clock.run()
    world.courier.forwarded(crew, Forward(agent.jobs[0].job_id, 0, "", (Recipient("x@smtp.x"),)))
    return agent.jobs[0], crew


def test_a_forward_that_content_refuses_for_good_has_failed_and_is_reported() -> None:
    world = World()
    hops = Status("5.4.0", "Error: too many hops")
    world.clerk = lambda envelope, head: (
        hops if envelope.sender == "" and envelope.queue_id == "NEW1" else (envelope, head)
    )
    job, crew = forwarding(world)
    world.answer(job, SENT, crew=crew)
    (change, _report) = world.ledger.changes
    assert change.finals == ((0, hops),)
    assert [new.envelope.recipients[0].address for new in change.spawned] == ["joe@discard.x"]
    assert "local: ID1: to=<list@local.here>, relay=none, delay=0, delays=0/0/0/0, dsn=5.4.0, status=bounced" in (
        "\n".join(world.lines())
    )


def test_a_forward_that_content_cant_take_now_is_tried_again() -> None:
    world = World()
    down = Status("4.3.0", "Error: queue file write error")
    world.clerk = lambda envelope, head: down
    job, crew = forwarding(world)
    world.answer(job, SENT, crew=crew)
    (change,) = world.ledger.changes
    assert (change.finals, change.deferred, change.spawned) == ((), ((0, down),), ())


def test_failures_wait_for_their_report() -> None:
    world = World()
    world.clerk = lambda envelope, head: Status("4.3.0", "table is down")
    world.store("a@smtp.x")
    world.clock.run()
    world.answer(world.remote.jobs[0], BOUNCED)
    (change,) = world.ledger.changes
    assert (change.finals, change.deferred) == ((), ((0, BOUNCED),))


def test_content_that_has_to_ask_holds_up_only_its_message() -> None:
    world = World()
    known: list[bool] = []

    def clerk(envelope: Envelope, head: bytes) -> tuple[Envelope, bytes]:
        if not known:
            raise Pending(lambda: None)  # type: ignore[arg-type, return-value]
        return envelope, head

    world.clerk = clerk
    job, crew = forwarding(world)
    world.store("b@smtp.y")
    world.clock.run()
    world.answer(job, SENT, crew=crew)
    world.answer(world.remote.jobs[0])
    assert [change.key for change in world.ledger.changes] == [(7, 1024)]
    known.append(True)
    world.fetches[0][1]()
    world.clock.run()
    assert [len(change.spawned) for change in world.ledger.changes] == [0, 1]
    assert world.courier.figures["active"] == 1


def test_a_failed_recipient_s_forward_is_stored_with_its_failure() -> None:
    world = World()
    agent, crew = world.hire("agent")
    world.store("half@local.here", "b@smtp.y", "c@smtp.z")
    world.clock.run()
    job = agent.jobs[0]
    world.courier.forwarded(crew, Forward(job.job_id, 0, "", (Recipient("x@discard.x"),)))
    world.answer(job, BOUNCED, crew=crew)
    world.answer(world.remote.jobs[0])
    assert [len(change.spawned) for change in world.ledger.changes] == [0]
    world.answer(world.remote.jobs[1])
    assert [len(change.spawned) for change in world.ledger.changes[:2]] == [0, 2]


def test_a_mailbox_has_its_own_destination() -> None:
    world = World(local_destination_concurrency_limit="1", local_initial_destination_concurrency="1")
    agent, _ = world.hire("agent")
    for name in ("ann", "ann+list", "bob"):
        world.store(f"{name}@local.here")
    world.clock.run()
    assert [job.recipients[0].address for job in agent.jobs] == ["ann@local.here", "bob@local.here"]
    assert agent.jobs[0].nexthop == "here"


def test_a_big_body_goes_by_descriptor(tmp_path: Path) -> None:
    world = World()
    path = tmp_path / "body"
    path.write_bytes(b"big")
    world.store("a@smtp.x", "b@smtp.y", body=None)
    key = (7, 512)
    world.ledger.held[key].head = None
    world.ledger.files[key] = str(path)
    world.clock.run()
    assert [job.body for job in world.remote.jobs] == [None, None]
    assert len(set(world.remote.fds)) == 2
    for fd in world.remote.fds:
        assert os.read(fd, 10) == b"big"
        os.close(fd)


def test_a_message_that_cant_be_read_is_named_and_deferred() -> None:
    world = World()
    world.courier.worker_left("carrier", world.crew)
    world.store("a@smtp.x")
    entry = world.ledger.held[(7, 512)]
    entry.head = entry.body = None
    world.ledger.damaged.add(entry.key)
    world.hire()
    world.clock.run()
    lines = world.lines()
    assert lines[1] == "qmgr: error: ID1: (7, 512) can't be read"
    assert lines[2].endswith("status=deferred (queue file can't be read)")


def test_the_active_queue_is_bounded_and_receivers_are_slowed() -> None:
    world = World(qmgr_message_active_limit="10", smtp_destination_concurrency_limit="5", in_flow_delay="2s")
    for n in range(100):
        world.store(f"u{n}@smtp.x")
    world.clock.run()
    assert world.courier.figures["active"] == 10
    assert len(world.ledger.held) == 10
    assert len(world.ledger.waiting) == 90
    assert [t for t in world.told if isinstance(t, SlowDown)] == [SlowDown(2.0)]
    served = 0
    while world.remote.jobs:
        world.answer(world.remote.jobs.pop(0))
        served += 1
        assert world.courier.figures["active"] <= 10
    assert served == 100
    assert world.told[-1] == SlowDown(0.0) or SlowDown(0.0) in world.told


def test_a_receiver_that_comes_late_is_slowed_too() -> None:
    world = World(qmgr_message_active_limit="1")
    world.store("a@smtp.x")
    told: list[ToReceiver] = []
    world.courier.receiver_joined(Sender(4, told.append))
    assert told == [SlowDown(1.0)]


def test_credit_comes_back_when_bodies_have_left() -> None:
    world = World(smtp_destination_concurrency_limit="0")
    for _ in range(150):
        world.store("a@smtp.x")
    world.clock.run()
    while world.remote.jobs:
        world.answer(world.remote.jobs.pop(0))
    credits = [t for t in world.told if isinstance(t, Credit)]
    assert credits == [Credit(64, 64 * 7)] * 2


def test_a_body_stays_until_the_last_delivery_has_begun() -> None:
    world = World(initial_destination_concurrency="1")
    world.store("a@smtp.x")
    world.store("b@smtp.x", "c@smtp.y")
    world.clock.run()
    assert [job.queue_id for job in world.remote.jobs] == ["ID1", "ID2"]
    entry = world.ledger.held[(7, 1024)]
    assert entry.body is not None
    world.answer(world.remote.jobs[0])
    assert entry.body is None


def test_a_receiver_that_died_is_looked_after() -> None:
    world = World()
    world.courier.receiver_left(world.receiver)
    world.clock.run()
    assert world.ledger.linked_instances == [3]
    assert world.ledger.orphans == [3]


def test_new_carriers_take_over_from_an_older_generation() -> None:
    world = World()
    world.store("a@smtp.x")
    world.clock.run()
    new, crew = world.hire(generation=2)
    for _ in range(4):
        world.store("a@smtp.x")
    world.clock.run()
    assert (len(world.remote.jobs), len(new.jobs)) == (1, 4)
    world.answer(world.remote.jobs[0])
    assert "qmgr: ID1: removed" in world.lines()
    world.courier.worker_left("carrier", crew)
    world.clock.run()
    assert len(world.remote.jobs) == 5


def test_the_least_busy_carrier_gets_the_next_job_and_a_congested_one_none() -> None:
    world = World()
    second, _ = world.hire()
    for n in range(6):
        world.store(f"a@smtp.x{n}")
    world.clock.run()
    assert (len(world.remote.jobs), len(second.jobs)) == (3, 3)
    world.remote.full = True
    for n in range(6, 9):
        world.store(f"a@smtp.x{n}")
    world.clock.run()
    assert (len(world.remote.jobs), len(second.jobs)) == (3, 6)


def test_no_deliveries_begin_while_the_ledger_cant_write() -> None:
    world = World()
    world.ledger.failing = True
    world.store("a@smtp.x")
    world.clock.run()
    assert world.remote.jobs == []
    world.ledger.failing = False
    world.clock.advance(5.0)
    assert len(world.remote.jobs) == 1


def test_drain_ends_with_what_is_in_hand() -> None:
    world = World(initial_destination_concurrency="1")
    world.store("a@smtp.x")
    world.store("b@smtp.x")
    world.clock.run()
    ended: list[bool] = []
    world.courier.drain(lambda: ended.append(True))
    world.clock.run()
    assert ended == []
    world.answer(world.remote.jobs[0])
    assert ended[0]
    assert len(world.remote.jobs) == 1


def test_what_a_sweep_moves_is_due_before_the_next_queue_run() -> None:
    world = World()
    began, swept = world.clock.now(), list[float]()
    world.ledger.sweep = swept.append  # type: ignore[assignment, method-assign]
    world.clock.advance(20)
    assert len(swept) >= 3 and set(swept) == {began}


def test_a_sweep_that_fails_is_not_the_last() -> None:
    world = World()
    swept = list[float]()

    def fail(now: float) -> None:
        swept.append(now)
        raise OSError(24, "Too many open files")

    world.ledger.sweep = fail  # type: ignore[method-assign]
    for _ in range(3):
        with pytest.raises(OSError):
            world.clock.advance(5)
    assert len(swept) == 3


def test_credit_comes_back_for_mail_that_has_nowhere_to_go() -> None:
    world = World("local unix - n n - - local\n")
    for _ in range(64):
        world.store("ann@smtp.example.com", body=b"x" * 10)
    world.clock.run()
    assert world.told == [Credit(64, 640)]


def test_a_change_that_can_not_be_settled_costs_no_other() -> None:
    world = World(lag=0.005)
    settle, bad = world.ledger.settle, list[Change]()

    def fussy(change: Change, done: Callable[[tuple[Entry, ...]], None]) -> None:
        if not bad:
            bad.append(change)
            raise SpoolError("nobody holds it")
        settle(change, done)

    world.ledger.settle = fussy  # type: ignore[method-assign]
    for _ in range(3):
        world.store("ann@smtp.example.com")
    world.clock.run()
    for job in world.remote.jobs:
        world.answer(job)
    with pytest.raises(SpoolError):
        world.clock.advance(1)
    world.clock.advance(1)
    assert sum("removed" in line for line in world.lines()) == 2
    ended: list[int] = []
    world.courier.drain(lambda: ended.append(1))
    world.clock.run()
    assert ended


def test_mail_whose_deliverers_stay_away_does_not_fill_the_active_queue() -> None:
    world = World("local unix - n n - - local\nsmtp unix - - n - - smtp", transport_retry_time="60s")
    for _ in range(3):
        world.store("ann@local.x")
    world.clock.run()
    world.clock.advance(50)
    assert world.courier.figures["active"] == 3
    world.clock.advance(20)
    assert world.courier.figures == {"active": 0, "waiting": 0, "delivering": 0}
    assert sum("mail transport unavailable" in line for line in world.lines()) == 3
    agent, _ = world.hire("agent")
    world.clock.advance(300)
    world.clock.advance(300)
    assert len(agent.jobs) == 2, "a mailbox gets two at a time"


def test_deliveries_that_hang_leave_room_for_other_transports() -> None:
    master = "".join(f"{name} unix - n n - - pipe\n" for name in ("one", "two")) + "local unix - n n - - local\n"
    world = World(master, initial_destination_concurrency="200", default_destination_concurrency_limit="0")
    agent, crew = world.hire("agent")
    for _ in range(80):
        world.store("a@one.example", "b@two.example")
    world.clock.run()
    assert len(agent.jobs) == 100 and not world.remote.jobs
    for n in range(8):
        world.store(f"c@local.{n}.example")
    world.clock.run()
    assert [job.transport for job in agent.jobs[100:]] == ["local"] * 5
    world.answer(agent.jobs[100], crew=crew)
    assert [job.transport for job in agent.jobs[105:]] == ["local"]
