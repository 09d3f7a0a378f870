"""Probes: mail's way without mail."""

from functools import partial

import pytest
from msgspec import Struct
from msgspec.structs import replace
from tests.unit.schedule.test_courier import BOUNCED, DEFERRED, REFUSED, SENT, World

from postwarden.ipc.records import Forward
from postwarden.mail.decision import BUILT_IN, Pending, Rule
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.status import Status
from postwarden.schedule.parts import Probing
from postwarden.schedule.planning import Planner
from postwarden.schedule.ports import Resolver
from postwarden.schedule.probes import Probed


class Prober(World):
    """Probes go where the address says, by way of `ways` if that is given."""

    def __init__(self, ways: Resolver | None = None, **parameters: str) -> None:
        super().__init__(None, **parameters)  # type: ignore[arg-type]
        planner = self.parts.planner if ways is None else Planner(ways, self.scheduler.limits, faults=())
        probing = Probing(planner, lambda now: "prober@mx.example.com", lambda queue_id, now: b"X: y\r\n\r\n")
        self.courier.reconfigure(replace(self.parts, probing=probing), self.courier._params)
        self.lines()

    def probe(self, address: str) -> list[Probed]:
        found: list[Probed] = []
        self.courier.probe(address, found.append)
        self.clock.run()
        return found

    def untouched(self) -> bool:
        """The ledger never heard of it."""
        return not self.ledger.changes and not self.ledger.held and not self.courier.figures["active"]


def foretold(status: Status) -> Status:
    return status.foretold()


@pytest.mark.parametrize("status", [SENT, BOUNCED, DEFERRED])
def test_an_outcome_is_told_and_logged_and_nowhere_else(status: Status) -> None:
    world = Prober()
    found = world.probe("ann@smtp.example.com")
    (job,) = world.remote.jobs
    assert (job.trace, job.probe, job.sender) == ("verify", True, "prober@mx.example.com")
    assert not found
    world.answer(job, foretold(status))
    assert found == [Probed(foretold(status), "ann@smtp.example.com")]
    assert world.untouched()
    assert [line.partition(": ")[2].partition(": ")[2] for line in world.lines()] == [
        "from=<prober@mx.example.com>, size=8, nrcpt=1 (queue active)",
        "removed",
    ]
    assert world.courier.figures == {"active": 0, "waiting": 0, "delivering": 0}


def test_what_the_courier_delivers_itself() -> None:
    world = Prober()
    assert [one.status.code for one in world.probe("a@error.why")] == ["5.1.2"]
    assert [one.status.code for one in world.probe("a@discard.x")] == ["2.0.0"]
    lines = [line for line in world.lines() if "status=" in line]
    assert [line.partition("status=")[2] for line in lines] == ["undeliverable (why)", "deliverable (x)"]
    assert world.untouched()


def test_soft_bounce_is_for_mail() -> None:
    world = Prober(soft_bounce="yes")
    assert [one.status.code for one in world.probe("a@error.why")] == ["5.1.2"]
    found = world.probe("a@smtp.x.example")
    world.answer(world.remote.jobs[0], foretold(BOUNCED.softened()))
    assert found[0].status.code == BOUNCED.code


def test_its_way_may_be_another_than_that_of_mail() -> None:
    world = Prober(ways=Detour())
    world.probe("ann@smtp.example.com")
    world.store("ann@smtp.example.com")
    world.clock.run()
    assert [(job.transport, job.nexthop) for job in world.remote.jobs] == [
        ("relay", "[192.0.2.7]"),
        ("smtp", "example.com"),
    ]


class Detour(Struct):
    transport: str = "relay"
    nexthop: str = "[192.0.2.7]"
    recipient: str = "ann@smtp.example.com"
    table: str = ""
    rule: Rule = Rule("relay_domains", "", BUILT_IN)

    def resolve(self, recipient: str, sender: str | None = None) -> "Detour":
        return self


def test_an_alias_to_one_is_followed_and_its_own_address_known() -> None:
    world = Prober()
    world.clerk = partial(_becomes, "other@smtp.y.example")
    found = world.probe("alias@smtp.x.example")
    (job,) = world.remote.jobs
    assert job.recipients == (Recipient("other@smtp.y.example", "alias@smtp.x.example"),)
    world.answer(job, foretold(SENT))
    assert found == [Probed(foretold(SENT), "other@smtp.y.example")]


def _becomes(address: str, envelope: Envelope, head: bytes) -> tuple[Envelope, bytes]:
    recipients = (Recipient(address, envelope.recipients[0].address),)
    return replace(envelope, recipients=recipients), head


def test_an_alias_to_several_is_good_whoever_they_are() -> None:
    world = Prober()
    several = (Recipient("a@smtp.x.example"), Recipient("b@smtp.x.example"))
    world.clerk = lambda envelope, head: (replace(envelope, recipients=several), head)
    (found,) = world.probe("alias@smtp.x.example")
    assert (found.status.code, found.address, found.lasting) == ("2.0.0", "alias@smtp.x.example", True)
    assert not world.remote.jobs
    (line,) = world.lines()
    assert line.startswith("cleanup: ")
    assert line.endswith("dsn=2.0.0, status=deliverable (aliased to multiple recipients)")


def test_tables_that_have_to_be_asked_are_asked() -> None:
    world = Prober()
    asked: list[Envelope] = []

    def clerk(envelope: Envelope, head: bytes) -> tuple[Envelope, bytes]:
        asked.append(envelope)
        if len(asked) == 1:
            raise Pending(_nothing)
        return envelope, head

    world.clerk = clerk
    world.probe("ann@smtp.x.example")
    assert not world.remote.jobs
    _, done = world.fetches.pop()
    done()
    world.clock.run()
    assert len(world.remote.jobs) == 1


async def _nothing() -> None:
    return


def test_tables_that_are_asked_without_end() -> None:
    world = Prober()

    def clerk(envelope: Envelope, head: bytes) -> tuple[Envelope, bytes]:
        raise Pending(_nothing)

    world.clerk = clerk
    found = world.probe("ann@smtp.x.example")
    rounds = 0
    while not found:
        _, done = world.fetches.pop()
        done()
        rounds += 1
        assert rounds < 1000
    assert (found[0].status.code[0], found[0].lasting) == ("4", False)


@pytest.mark.parametrize("address", ["ann@smtp.x.example", "never@smtp.x.example"])
def test_what_no_channel_takes_and_a_bug_end_with_the_question(address: str) -> None:
    world = Prober()

    def clerk(envelope: Envelope, head: bytes) -> tuple[Envelope, bytes]:
        if envelope.recipients[0].address.startswith("never"):
            raise RuntimeError("a bug")
        return _becomes("b\udcfc@smtp.x.example", envelope, head)

    world.clerk = clerk
    (found,) = world.probe(address)
    assert (found.status.code[0], found.address, found.lasting) == ("4", address, False)
    assert "error: " in world.lines()[-1]
    assert not world.courier._probes.pending
    assert not world.remote.jobs


def test_what_content_refuses_is_no_verdict() -> None:
    world = Prober()
    world.clerk = lambda envelope, head: Status("4.6.0", "Alias expansion error")
    (found,) = world.probe("loop@smtp.x.example")
    assert (found.status.text, found.lasting) == ("Alias expansion error", False)


@pytest.mark.parametrize("address", ["fault@smtp.x.example", "a@nosuch.x"])
def test_a_fault_of_ours_is_no_verdict(address: str) -> None:
    world = Prober()
    (found,) = world.probe(address)
    assert (found.status.code, found.lasting) == ("4.3.0", False)


def test_a_carrier_that_dies_takes_no_question_with_it() -> None:
    world = Prober()
    found = world.probe("ann@smtp.x.example")
    world.courier.worker_left("carrier", world.crew)
    second, crew = world.hire()
    world.clock.run()
    assert len(second.jobs) == 1
    assert not found
    world.courier.worker_left("carrier", crew)
    world.clock.run()
    assert [(one.status.code, one.lasting) for one in found] == [("4.3.0", False)]
    assert not world.courier._probes.pending
    assert not +world.courier._probes._running


def test_without_carriers_the_question_is_answered() -> None:
    world = Prober()
    world.courier.worker_left("carrier", world.crew)
    found = world.probe("ann@smtp.x.example")
    world.clock.advance(70.0)
    assert [(one.status.text, one.lasting) for one in found] == [("mail transport unavailable", False)]


def test_a_dead_destination_is_told_of_at_once() -> None:
    world = Prober(initial_destination_concurrency="1")
    first = world.probe("a@smtp.x.example")
    world.answer(world.remote.jobs[0], foretold(REFUSED), fault=REFUSED)
    second = world.probe("b@smtp.x.example")
    assert first[0].status == foretold(REFUSED)
    assert second[0].status.text == f"delivery temporarily suspended: {REFUSED.text}"


def test_past_the_limit_they_are_refused() -> None:
    world = Prober(address_verify_pending_request_limit="2")
    waiting = [world.probe(f"a{n}@smtp.x.example") for n in range(2)]
    (third,) = world.probe("c@smtp.x.example")
    assert (third.status.code, third.status.text) == ("4.3.2", "Too many address verification requests")
    assert not third.lasting
    assert "status=undeliverable (Too many address verification requests)" in world.lines()[-1]
    world.answer(world.remote.jobs[0], foretold(SENT))
    assert waiting[0]
    assert not world.probe("d@smtp.x.example")


def test_a_dictionary_attack_leaves_room_for_mail() -> None:
    world = Prober(address_verify_pending_request_limit="5000", default_process_limit="40", smtp_helo_name="x")
    for n in range(600):
        world.probe(f"a{n}@smtp.slow{n}.example")
    assert len(world.remote.jobs) == 10
    world.store("ann@smtp.slow0.example", "bob@smtp.fast.example")
    world.clock.run()
    assert [job.recipients[0].address for job in world.remote.jobs[10:]] == [
        "ann@smtp.slow0.example",
        "bob@smtp.fast.example",
    ]


def test_who_waits_too_long_for_servers_that_hang_is_told_so() -> None:
    world = Prober(address_verify_pending_request_limit="700", default_process_limit="4")
    slow = [world.probe(f"a{n}@smtp.slow{n}.example") for n in range(700)]
    world.clock.advance(290.0)
    assert world.probe("good@smtp.x.example")[0].status.text.startswith("Too many")
    assert not any(slow)
    world.clock.advance(20.0)
    assert [len(found) for found in slow] == [0] + [1] * 699
    assert {(one.status.text, one.lasting) for found in slow for one in found} == {
        ("Too many address verification requests", False)
    }
    later = world.probe("good@smtp.x.example")
    world.answer(world.remote.jobs[0], foretold(DEFERRED))
    assert world.remote.jobs[1].recipients[0].address == "good@smtp.x.example"
    assert slow[0] and not later
    assert world.scheduler.waiting == 0


def test_one_that_has_begun_may_take_its_time() -> None:
    world = Prober()
    found = world.probe("ann@smtp.x.example")
    world.clock.advance(5000.0)
    assert not found
    world.answer(world.remote.jobs[0], foretold(SENT))
    assert found[0].lasting


def test_the_end_waits_for_mail_alone() -> None:
    world = Prober()
    ended: list[bool] = []
    world.probe("ann@smtp.x.example")
    world.store("bob@smtp.y.example")
    world.clock.run()
    world.courier.drain(lambda: ended.append(True))
    world.clock.run()
    assert not ended
    world.answer(next(job for job in world.remote.jobs if not job.probe))
    assert ended


def test_mail_goes_first() -> None:
    world = Prober()
    world.courier.worker_left("carrier", world.crew)
    world.probe("a@smtp.x.example")
    world.store("ann@smtp.x.example")
    world.clock.run()
    remote, _ = world.hire()
    world.clock.run()
    assert [job.probe for job in remote.jobs] == [False, True]


def test_a_mailbox_transport_answers_for_the_agent() -> None:
    world = Prober()
    agent, crew = world.hire("agent")
    found = world.probe("ann@local.mx")
    (job,) = agent.jobs
    assert job.transport == "local"
    world.courier.forwarded(crew, Forward(job.job_id, 0, "", (), "smtp", "boxes.example"))
    world.answer(job, SENT, crew=crew)
    (onward,) = world.remote.jobs
    assert (onward.transport, onward.nexthop, onward.probe) == ("smtp", "boxes.example", True)
    world.answer(onward, foretold(BOUNCED))
    assert [one.status for one in found] == [foretold(BOUNCED)]


def test_an_answer_that_makes_no_sense_is_no_verdict() -> None:
    world = Prober()
    found = world.probe("ann@smtp.x.example")
    world.answer(world.remote.jobs[0], SENT, SENT)
    assert [(one.status.code, one.lasting) for one in found] == [("4.3.0", False)]


def test_operators_do_not_see_it() -> None:
    world = Prober()
    world.probe("ann@smtp.x.example")
    assert not world.courier._rounds.messages
    world.courier.flush()
    world.clock.run()
    assert len(world.remote.jobs) == 1


def test_where_nothing_is_probed() -> None:
    world = World()
    found: list[Probed] = []
    world.courier.probe("ann@smtp.x.example", found.append)
    assert [(one.status.code[0], one.lasting) for one in found] == [("4", False)]
