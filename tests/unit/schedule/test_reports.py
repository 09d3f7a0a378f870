"""Reports are stored with what they tell of: all of it, or none."""

import pytest
from tests.unit.schedule.test_courier import BOUNCED, DEFERRED, SENT, World

from postwarden.ipc.records import Forward, Stored
from postwarden.mail.envelope import Envelope, Notify, Recipient
from postwarden.mail.queue import Content, Entry, NewMessage
from postwarden.mail.round import Kind, Remark, Report, Round
from postwarden.mail.status import Status
from postwarden.schedule.spawning import Spawner


def store(world: World, *addresses: str, notify: int = Notify.SUCCESS, **more: object) -> None:
    recipients = tuple(Recipient(address, notify=notify) for address in addresses)
    envelope = Envelope("ID1", world.clock.now(), "joe@discard.x", recipients, 100, **more)  # type: ignore[arg-type]
    world.courier.stored(world.receiver, Stored(7, 512, 512, envelope, b"Subject: hi\r\n\r\n", b"hello\r\n"))
    world.clock.run()


def reported(world: World) -> list[bytes]:
    return [new.body for change in world.ledger.changes for new in change.spawned]


def test_success_is_told_once_when_the_round_ends() -> None:
    world = World(lag=0.02)
    store(world, "a@smtp.x", "b@smtp.y", "c@smtp.z")
    x, y, z = world.remote.jobs
    world.answer(x)
    world.clock.advance(1)
    (first,) = world.ledger.changes
    assert (first.untold, first.told, first.spawned) == (((0, SENT),), False, ())
    world.answer(y)  # is not even committed when the last outcome comes
    world.answer(z)
    world.clock.advance(1)
    assert reported(world)[:1] == [b"0 of 3: 250 ok"]
    assert len(reported(world)) == 1
    assert world.ledger.changes[-2].told or world.ledger.changes[-1].told
    assert "bounce: ID1: sender delivery status notification: NEW1" in world.lines()


def test_what_was_settled_in_an_earlier_life_is_told_too() -> None:
    world = World()
    store(world, "a@smtp.x", "b@smtp.y")
    (entry,) = world.ledger.held.values()
    entry.untold = {0: Status("2.0.0", "before")}
    world.answer(world.remote.jobs[0], DEFERRED)
    world.answer(world.remote.jobs[1])
    assert reported(world) == [b"0 of 2: before"]


def test_nothing_is_kept_for_who_asks_for_nothing() -> None:
    world = World()
    store(world, "a@smtp.x", "b@smtp.y", notify=0)
    for job in world.remote.jobs:
        world.answer(job)
    assert [(c.untold, c.told, c.warned, c.spawned) for c in world.ledger.changes] == [((), False, False, ())] * 2


def test_deferred_mail_is_told_of_at_the_end_of_each_round() -> None:
    world = World()
    store(world, "a@smtp.x", "b@smtp.y")
    x, y = world.remote.jobs
    world.answer(x)
    world.answer(y, DEFERRED)
    assert reported(world) == [b"0 of 1: 250 ok"]
    (entry,) = world.ledger.away.values()
    assert (entry.told, entry.untold, entry.open) == (True, {}, (1,))


def test_aliases_are_told_of_in_the_first_round() -> None:
    world = World()
    store(world, "a@smtp.x", notify=0, expanded=(Recipient("alias@x"),))
    world.answer(world.remote.jobs[0], DEFERRED)
    (change,) = world.ledger.changes
    assert change.told


def test_a_report_of_success_that_content_cant_take_leaves_as_it_is() -> None:
    world = World()
    world.clerk = lambda envelope, head: Status("4.3.0", "table is down")
    store(world, "a@smtp.x")
    world.answer(world.remote.jobs[0])
    assert reported(world) == [b"0 of 1: 250 ok"]


def test_a_delay_that_cant_be_told_is_told_later() -> None:
    world = World(delay_warning_time="1s")
    world.clerk = lambda envelope, head: Status("4.3.0", "table is down")
    store(world, "a@smtp.x", notify=0)
    world.answer(world.remote.jobs[0], DEFERRED)
    assert not any(change.warned for change in world.ledger.changes)
    world.clerk = lambda *both: both
    world.clock.advance(900)
    world.answer(world.remote.jobs[1], DEFERRED)
    assert any(change.warned for change in world.ledger.changes)
    assert reported(world) == [b"0 of 1: host mx[192.0.2.1] said: 450 later"]
    world.clock.advance(1800)
    world.answer(world.remote.jobs[2], DEFERRED)
    assert len(reported(world)) == 1


def test_a_message_of_which_nothing_can_be_read_is_still_reported() -> None:
    world = World()
    store(world, "a@smtp.x")
    world.ledger.damaged.add((7, 512))
    world.answer(world.remote.jobs[0])
    assert reported(world) == [b"0 of 1: 250 ok"]


class Copying:
    """A failure, a copy of it, and a remark."""

    def traces(self, envelope: Envelope, index: int, status: Status, *, warned: bool, told: bool) -> bool:
        return False

    def reports(self, envelope: Envelope, what: Round) -> list[Report | Remark]:
        copy = Report(Kind.FAILURE, "pm@x", what.failed, "postmaster notification", postmaster=True)
        return [Report(Kind.FAILURE, envelope.sender, what.failed, "notification"), copy, Remark("by the way")]

    def compose(self, report: Report, envelope: Envelope, content: Content, queue_id: str) -> NewMessage:
        return NewMessage(Envelope(queue_id, 0.0, "", (Recipient(report.recipient),), 1), b"")


@pytest.mark.parametrize(
    ("down", "sent", "remarks", "untold"),
    [
        ("", ["joe@x", "pm@x"], ["by the way"], set()),
        ("pm@x", ["joe@x"], ["postmaster notification not sent: table is down", "by the way"], set()),
        ("joe@x", ["pm@x"], ["by the way"], {Kind.FAILURE}),
    ],
)
def test_nothing_hangs_on_a_copy_for_postmasters(
    down: str, sent: list[str], remarks: list[str], untold: set[Kind]
) -> None:
    def clerk(envelope: Envelope, head: bytes) -> tuple[Envelope, bytes] | Status:
        return Status("4.3.0", "table is down") if envelope.recipients[0].address == down else (envelope, head)

    spawner = Spawner(Copying(), clerk, new_queue_id=lambda: "NEW", now=lambda: 0.0, trace=lambda *_: b"")
    envelope = Envelope("ID1", 0.0, "joe@x", (Recipient("a@y"),), 10)
    entry = Entry((7, 1), envelope, (0,), 1, 1)
    wanted = spawner.reports(envelope, Round(failed=((0, BOUNCED),)))
    told = spawner.report(entry, wanted, Content(b"", b""))
    assert [new.message.envelope.recipients[0].address for new in told.spawned] == sent
    assert [remark.text for remark in told.remarks] == remarks
    assert told.untold == untold


def test_verified_mail_ends_with_the_round_whatever_is_said() -> None:
    world = World()
    store(world, "a@smtp.x", "b@smtp.y", "c@smtp.z", "d@relay.x", trace="verify")
    x, y, z = world.remote.jobs
    assert x.trace == "verify"
    world.answer(x, BOUNCED)
    world.answer(y, DEFERRED)
    world.answer(z)
    assert reported(world) == [b"0 of 4: deferred transport"]
    assert world.ledger.away == {}
    lines = world.lines()
    assert "qmgr: ID1: removed" in lines
    assert [line for line in lines if "status=undeliverable (deferred transport)" in line]


def test_a_record_is_made_of_the_first_round_alone() -> None:
    world = World()
    store(world, "a@smtp.x", notify=0, trace="record")
    world.answer(world.remote.jobs[0], DEFERRED)
    assert reported(world) == [b"0 of 1: host mx[192.0.2.1] said: 450 later"]
    (entry,) = world.ledger.away.values()
    assert entry.told


def test_a_bug_in_a_report_keeps_no_message() -> None:
    world = World()

    def bug(*_: object) -> None:
        raise ValueError("bug")

    world.clerk = bug  # type: ignore[assignment]
    store(world, "a@smtp.x", "b@smtp.y", notify=0)
    x, y = world.remote.jobs
    world.answer(x)
    world.answer(y, BOUNCED)
    assert world.courier.figures["active"] == 0
    (entry,) = world.ledger.away.values()
    assert entry.open == (1,) and entry.reasons[1].text == "internal error"
    assert "qmgr: error: ID1: internal error: ValueError('bug')" in world.lines()


def test_a_bug_in_a_forward_has_its_recipient_tried_again() -> None:
    world = World()
    store(world, "a@local.x", "b@smtp.y", notify=0)
    agent, crew = world.hire("agent")
    world.clock.run()

    def bug(*_: object) -> None:
        raise ValueError("bug")

    world.clerk = bug  # type: ignore[assignment]
    world.courier.forwarded(crew, Forward(agent.jobs[0].job_id, 0, "joe@discard.x", (Recipient("c@smtp.z"),)))
    world.answer(agent.jobs[0], crew=crew)
    world.answer(world.remote.jobs[0])
    (entry,) = world.ledger.away.values()
    assert entry.open == (0,) and world.courier.figures["active"] == 0
