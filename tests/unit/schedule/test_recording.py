"""What the courier has recorded of a message: ways that a table chose, what deliverers went through, what was made of
it."""

import pytest
from tests.unit.schedule.test_courier import DEFERRED, SENT, DomainResolver, Route, World

from postwarden.ipc.queue_records import DELETE, EXPIRE, HOLD, REQUEUE
from postwarden.ipc.records import Forward, Outcome
from postwarden.mail.decision import BUILT_IN, Rule
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.remade import Remade
from postwarden.mail.status import Status, Timing

RULE = Rule("hash:/etc/postfix/transport", "example.com", BUILT_IN)
ALIAS = Remade("alias_maps", "team", ("a", "b"), Rule("hash:/etc/aliases", "team", BUILT_IN))


class Kept:
    """A `schedule.ports.Recorder` in memory."""

    def __init__(self) -> None:
        self.said: list[tuple[str, ...]] = []

    def attempted(self, queue_id: str, recipient: Recipient, status: Status, way: tuple[str, str] = ("", "")) -> None:
        self.said.append(("attempted", queue_id, recipient.address))

    def stored(self, envelope: Envelope, *, parent: str = "", remade: tuple[Remade, ...] = ()) -> None:
        self.said.append(("stored", envelope.queue_id, parent, *(step.parameter for step in remade)))

    def remade(self, queue_id: str, steps: tuple[Remade, ...]) -> None:
        self.said += [("remade", queue_id, step.parameter, step.before, *step.after) for step in steps]

    def operated(self, queue_id: str, operation: str) -> None:
        self.said.append(("operated", queue_id, operation))

    def ended(self, queue_id: str) -> None:
        self.said.append(("ended", queue_id))


class ByTable(DomainResolver):
    def resolve(self, recipient: str, sender: str | None = None) -> Route:
        route = super().resolve(recipient, sender)
        return Route(route.transport, route.nexthop, route.recipient, "transport_maps", RULE)


def recorded(resolver: DomainResolver | None = None) -> tuple[World, Kept]:
    world, kept = World(), Kept()
    world.resolver = resolver or DomainResolver()
    world.courier.record(kept)
    return world, kept


def test_a_way_that_no_table_chose_is_no_step() -> None:
    world, kept = recorded()
    world.store("ann@smtp.example.com")
    world.clock.run()
    world.answer(world.remote.jobs[0], SENT)
    assert kept.said == [("attempted", "ID1", "ann@smtp.example.com"), ("ended", "ID1")]


def test_a_way_that_a_table_chose_is_recorded_before_the_attempt() -> None:
    world, kept = recorded(ByTable())
    world.store("ann@smtp.example.com")
    world.clock.run()
    world.answer(world.remote.jobs[0], SENT)
    assert kept.said[0] == ("remade", "ID1", "transport_maps", "ann@smtp.example.com", "smtp:example.com")
    assert kept.said[1][0] == "attempted"


def test_what_a_deliverer_went_through_and_what_it_forwarded() -> None:
    world, kept = recorded()
    agent, crew = world.hire("agent")
    world.store("team@local.here")
    world.clock.run()
    (job,) = agent.jobs
    world.courier.forwarded(crew, Forward(job.job_id, 0, "s@here", (Recipient("a@smtp.x.example"),)))
    timing = Timing(world.clock.now(), 0.0, world.clock.now())
    world.courier.outcome(crew, Outcome(job.job_id, (SENT,), timing, remade=(ALIAS,)))
    world.clock.run()
    assert kept.said[:3] == [
        ("remade", "ID1", "alias_maps", "team", "a", "b"),
        ("attempted", "ID1", "team@local.here"),
        ("stored", "NEW1", "ID1"),
    ]


def test_what_is_requeued_is_known_by_what_it_was() -> None:
    world, kept = recorded()
    world.store("ann@smtp.example.com")
    world.clock.run()
    world.answer(world.remote.jobs.pop(), DEFERRED)
    over: list[bool] = []
    world.courier.operations.act(REQUEUE, ("ID1",), (), lambda: over.append(True))
    world.clock.run()
    assert ("stored", "NEW1", "ID1") in kept.said


@pytest.mark.parametrize("operation", [DELETE, HOLD, EXPIRE])
def test_what_an_operator_did_is_recorded_when_it_is_durable(operation: str) -> None:
    world, kept = recorded()
    world.store("ann@smtp.example.com")
    world.clock.run()
    world.answer(world.remote.jobs.pop(), DEFERRED)
    kept.said.clear()
    world.courier.operations.act(operation, ("ID1", "NONE"), (), lambda: None)
    assert kept.said == []
    world.clock.run()
    assert kept.said[0] == ("operated", "ID1", operation)


def test_a_hold_of_what_is_being_delivered_is_recorded_only_if_it_comes_to_that() -> None:
    for outcome, end in ((SENT, "ended"), (DEFERRED, "operated")):
        world, kept = recorded()
        world.store("ann@smtp.example.com")
        world.clock.run()
        world.courier.operations.act(HOLD, ("ID1",), (), lambda: None)
        world.clock.run()
        assert kept.said == []
        world.answer(world.remote.jobs.pop(), outcome)
        world.clock.run()
        assert [said[0] for said in kept.said] == ["attempted", end]
