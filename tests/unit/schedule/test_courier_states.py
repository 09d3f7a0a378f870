"""Any order of events: nothing is lost, nobody is served twice without a death, and what is over leaves nothing."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.unit.schedule.test_courier import BOUNCED, DEFERRED, REFUSED, SENT, Remote, World

from postwarden.ipc.queue_records import OPERATIONS, QUEUES, RELEASE
from postwarden.ipc.records import Forward, Job, Outcome
from postwarden.mail.envelope import Recipient
from postwarden.mail.status import Status, Timing
from postwarden.schedule.operations import Acting
from postwarden.schedule.workers import Crew

ADDRESSES = (
    "a@smtp.x",
    "b@smtp.x",
    "c@smtp.y",
    "d@lmtp.x",
    "e@local.here",
    "f@local.here",
    "g@discard.x",
    "h@error.x",
)
RESULTS = (SENT, BOUNCED, DEFERRED, REFUSED, Status("7", "nonsense"))
picks = st.integers(0, 1 << 16)


class CourierMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(
            qmgr_message_active_limit="6", queue_run_delay="10s", smtp_destination_recipient_limit="2",
            initial_destination_concurrency="2", qmgr_message_recipient_limit="12", qmgr_message_recipient_minimum="2",
        )  # fmt: skip
        self.world.courier.worker_left("carrier", self.world.crew)
        self.world.ledger._later = None
        self.workers: list[tuple[str, Remote, Crew]] = []
        self.stored = 0
        self.expected = 0
        self.forwards = 0
        self.actings: list[Acting] = []
        self.over = 0

    def hire(self, kind: str) -> None:
        self.workers.append((kind, *self.world.hire(kind)))

    def open_jobs(self) -> list[tuple[Job, Crew]]:
        return [(job, crew) for _, remote, crew in self.workers for job in remote.jobs if job.job_id in crew.jobs]

    @rule(chosen=st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=5, unique=True), null=st.booleans())
    def store(self, chosen: list[str], null: bool) -> None:
        self.world.store(*chosen, sender="" if null else "joe@smtp.z")
        self.stored += 1
        self.expected += len(chosen)

    @rule(kind=st.sampled_from(("carrier", "agent")))
    def start_worker(self, kind: str) -> None:
        if len(self.workers) < 4:
            self.hire(kind)

    @rule(pick=picks)
    def kill_worker(self, pick: int) -> None:
        if self.workers:
            kind, _, crew = self.workers.pop(pick % len(self.workers))
            self.world.courier.worker_left(kind, crew)

    @rule(pick=picks, results=st.lists(st.sampled_from(RESULTS), min_size=5, max_size=5), fault=st.booleans())
    def answer(self, pick: int, results: list[Status], fault: bool) -> None:
        jobs = self.open_jobs()
        if jobs:
            job, crew = jobs[pick % len(jobs)]
            timing = Timing(0.0, 0.0, 0.0)
            chosen = tuple(results[: len(job.recipients)])
            self.world.courier.outcome(crew, Outcome(job.job_id, chosen, timing, REFUSED if fault else None))

    @rule(pick=picks)
    def forward(self, pick: int) -> None:
        jobs = [both for both in self.open_jobs() if both[0].transport == "local"]
        if jobs and self.forwards < 5:
            self.forwards += 1
            job, crew = jobs[pick % len(jobs)]
            self.world.courier.forwarded(crew, Forward(job.job_id, 0, "", (Recipient("a@smtp.y"),)))

    @rule()
    def commit(self) -> None:
        self.world.ledger.commit()

    @rule(seconds=st.sampled_from((0.0, 1.0, 10.0, 400.0)))
    def advance(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @rule()
    def flush(self) -> None:
        self.world.courier.flush()

    def known(self) -> list[str]:
        return [listed.queue_id for listed in self.world.ledger.page(None)[0]]

    def ended(self) -> None:
        self.over += 1

    @rule(
        operation=st.sampled_from(OPERATIONS), pick=picks, count=st.integers(1, 3), queue=st.sampled_from(("", *QUEUES))
    )
    def operate(self, operation: str, pick: int, count: int, queue: str) -> None:
        known = [*self.known(), "NONE"]
        chosen = [known[(pick + n) % len(known)] for n in range(count)]
        queues = (queue,) if queue else ()
        self.actings.append(self.world.courier.operations.act(operation, chosen, queues, self.ended))

    @rule(pick=picks)
    def flush_one(self, pick: int) -> None:
        known = [*self.known(), "NONE"]
        self.world.courier.operations.flush_message(known[pick % len(known)])

    @rule(seconds=st.sampled_from((-1e6, 1e6)))
    def jump(self, seconds: float) -> None:
        self.world.clock.jump(seconds)

    @invariant()
    def windows_hold(self) -> None:
        busy = Counter((job.transport, job.nexthop) for job, _ in self.open_jobs())
        assert self.world.courier.figures["delivering"] == sum(busy.values())
        assert all(count <= 20 for count in busy.values())

    def teardown(self) -> None:
        world = self.world
        self.hire("carrier")
        self.hire("agent")
        for _ in range(400):
            for job, crew in self.open_jobs():
                results = (SENT,) * len(job.recipients)
                world.courier.outcome(crew, Outcome(job.job_id, results, Timing(0.0, 0.0, 0.0)))
            world.courier.operations.act(RELEASE, self.known(), (), lambda: None)
            world.courier.flush()
            world.clock.advance(10.0)
            world.ledger.commit()
            world.clock.run()
            if not (world.ledger.held or world.ledger.away or world.ledger.waiting):
                break
        assert world.courier.figures == {"active": 0, "waiting": 0, "delivering": 0}
        assert self.over == len(self.actings), "each operation comes to its end"
        assert not any(acting.waiting for acting in self.actings)
        assert not (world.ledger.held or world.ledger.away or world.ledger.waiting or world.ledger.contents)
        finals = Counter((change.key, index) for change in world.ledger.changes for index, _ in change.finals)
        assert set(finals.values()) <= {1}
        assert sum(1 for key, _ in finals if key[0]) == self.expected
        world.clock.advance(400.0)
        assert all(not t.destinations for t in world.scheduler._transports.values())


TestCourier = CourierMachine.TestCase
TestCourier.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
