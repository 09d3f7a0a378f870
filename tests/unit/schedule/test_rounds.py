"""How long messages are tried, and what operators do with those in the courier's hands."""

import pytest
from tests.unit.schedule.test_courier import BOUNCED, DEFERRED, REFUSED, SENT, World

DAY = 86400.0


def deferred(world: World, status: str = "expired") -> bool:
    return any(f"status={status}" in line for line in world.lines())


def one_round(world: World) -> None:
    """The message that waits is tried once more, in vain."""
    world.courier.flush()
    world.clock.run()
    world.answer(world.remote.jobs.pop(), DEFERRED)


def test_a_message_is_returned_when_its_lifetime_is_over_and_an_attempt_has_failed() -> None:
    world = World(maximal_queue_lifetime="5d")
    world.store("ann@smtp.example.com")
    world.clock.run()
    world.answer(world.remote.jobs.pop(), DEFERRED)
    world.clock.advance(5 * DAY - 3600)
    while world.remote.jobs:
        world.answer(world.remote.jobs.pop(), DEFERRED)
    world.lines()
    world.clock.advance(2 * 4000)
    assert not any("status=expired" in line for line in world.lines()), "no attempt has failed yet"
    world.answer(world.remote.jobs.pop(), DEFERRED)
    lines = world.lines()
    assert "qmgr: ID1: from=<joe@example.org>, status=expired, returned to sender" in lines
    assert any("sender non-delivery notification" in line for line in lines)
    assert "qmgr: ID1: removed" in lines


def test_mail_without_a_sender_has_a_lifetime_of_its_own() -> None:
    world = World(maximal_queue_lifetime="5d", bounce_queue_lifetime="1h")
    world.store("ann@smtp.example.com", sender="")
    world.clock.run()
    world.clock.advance(3601)
    world.answer(world.remote.jobs.pop(), DEFERRED)
    assert "qmgr: ID1: from=<>, status=expired, returned to sender" in world.lines()


def test_a_lifetime_of_nothing_is_one_attempt() -> None:
    world = World(maximal_queue_lifetime="0")
    world.store("ann@smtp.example.com")
    world.clock.run()
    world.answer(world.remote.jobs.pop(), DEFERRED)
    assert deferred(world)


def test_a_machine_that_slept_tries_before_it_gives_up() -> None:
    world = World(maximal_queue_lifetime="5d")
    world.store("ann@smtp.example.com")
    world.clock.run()
    world.clock.jump(6 * DAY)
    world.answer(world.remote.jobs.pop(), DEFERRED)
    assert not deferred(world), "the attempt began before the calendar was set"
    one_round(world)
    assert deferred(world), "this one began after"


def test_a_destination_that_was_dead_before_the_jump_is_tried_after_it() -> None:
    world = World(maximal_queue_lifetime="5d", initial_destination_concurrency="1")
    for _ in range(2):
        world.store("ann@smtp.example.com")
    world.clock.run()
    while world.remote.jobs:
        world.answer(world.remote.jobs.pop(), REFUSED, fault=REFUSED)
    assert world.courier.whereabouts().destinations[0].suspended_until
    world.clock.jump(6 * DAY)
    world.clock.advance(1)
    assert world.courier.whereabouts().destinations == ()
    world.clock.advance(300)
    assert not deferred(world)
    world.answer(world.remote.jobs.pop(0), DEFERRED)
    assert deferred(world)


def test_a_calendar_that_is_set_back_makes_nothing_old() -> None:
    world = World(maximal_queue_lifetime="5d")
    world.clock.jump(-100 * DAY)
    world.clock.advance(2)
    world.store("ann@smtp.example.com")
    world.clock.run()
    world.answer(world.remote.jobs.pop(), DEFERRED)
    assert not deferred(world)
    (change,) = world.ledger.changes
    assert change.due == pytest.approx(world.clock.now() + 100 * DAY + 300), "the least back-off: it is new"


def test_the_sender_is_told_once_that_mail_is_late() -> None:
    world = World(delay_warning_time="1h")
    world.store("ann@smtp.example.com")
    world.clock.run()
    world.answer(world.remote.jobs.pop(), DEFERRED)
    assert not any("delay notification" in line for line in world.lines())
    world.clock.advance(3600)
    seen = 0
    for _ in range(3):
        world.courier.flush()
        world.clock.run()
        jobs, world.remote.jobs[:] = world.remote.jobs[:], []
        for job in jobs:
            world.answer(job, DEFERRED if job.queue_id == "ID1" else SENT)
        seen += sum("sender delay notification" in line for line in world.lines())
    assert seen == 1


def test_soft_bounce_does_not_keep_mail_for_ever() -> None:
    world = World(soft_bounce="yes", maximal_queue_lifetime="1d")
    world.store("ann@smtp.example.com")
    world.clock.run()
    world.answer(world.remote.jobs.pop(), BOUNCED)
    assert not deferred(world)
    world.clock.advance(DAY)
    world.answer(world.remote.jobs.pop(), BOUNCED)
    assert deferred(world)


def test_sites_of_fast_flush_are_kept_with_what_is_deferred() -> None:
    world = World()
    world.store("ann@smtp.example.com", "bob@slow.example")
    world.resolver.resolve = lambda recipient: type(  # type: ignore[method-assign]
        "R", (), {"transport": "smtp", "nexthop": recipient.rpartition("@")[2], "recipient": recipient}
    )()
    world.clock.run()
    for job in list(world.remote.jobs):
        world.answer(job, DEFERRED)
    assert world.ledger.changes[-1].sites == ("slow.example",)


def test_verp_gives_each_recipient_a_sender_of_its_own() -> None:
    world = World()
    world.store("ann@smtp.example.com", "bob@smtp.example.com", verp="+=")
    world.clock.run()
    senders = [job.sender for job in world.remote.jobs]
    assert senders == ["joe+ann=smtp.example.com@example.org", "joe+bob=smtp.example.com@example.org"]


def test_messages_of_few_recipients_pass_those_of_many() -> None:
    world = World(qmgr_message_recipient_limit="40", qmgr_message_recipient_minimum="2", maximal_backoff_time="300")
    many = [f"u{n}@smtp.example.com" for n in range(30)]
    for _ in range(4):
        world.store(*many)
    for _ in range(5):
        world.store("ann@smtp.other.example")
    world.clock.run()
    assert world.courier.figures["active"] == 2 + 5, "two of many reach the limit, and five of few do not mind"
    rounds = 0
    while world.remote.jobs:
        jobs, world.remote.jobs[:] = world.remote.jobs[:], []
        assert sum(len(job.recipients) > 2 for job in jobs) <= 2
        for job in jobs:
            world.answer(job, *(SENT for _ in job.recipients))
        rounds += 1
    assert rounds >= 2
    assert world.courier.figures["active"] == 0
    assert not world.ledger.held


def test_what_is_parked_can_be_operated_on() -> None:
    world = World(qmgr_message_recipient_limit="20", qmgr_message_recipient_minimum="2")
    many = [f"u{n}@smtp.example.com" for n in range(30)]
    for _ in range(3):
        world.store(*many)
    world.clock.run()
    assert world.courier.figures["active"] == 1
    for queue_id in ("ID2", "ID3"):
        over: list[bool] = []
        acting = world.courier.operations.act("delete", [queue_id], (), lambda over=over: over.append(True))
        world.clock.run()
        assert (acting.done, over) == ([queue_id], [True])
    assert [listed.queue_id for listed in world.ledger.page(None)[0]] == ["ID1"]


def test_a_flush_uses_transports_that_are_put_off() -> None:
    world = World()
    world.store("ann@relay.x.example")
    world.store("bob@relay.x.example", "cid@relay.x.example")
    world.clock.run()
    assert sum("dsn=4.3.2, status=deferred (deferred transport)" in line for line in world.lines()) == 3
    world.clock.advance(400)
    assert world.remote.jobs == [], "its time has come, but nobody asked"
    world.courier.operations.flush_message("ID1")
    world.clock.run()
    assert [job.queue_id for job in world.remote.jobs] == ["ID1"]
    world.courier.flush()
    world.clock.run()
    assert [job.queue_id for job in world.remote.jobs] == ["ID1", "ID2"]
    world.store("ann@relay.x.example")
    world.clock.run()
    assert len(world.remote.jobs) == 2, "what comes in later was not flushed"


def test_mail_that_expires_untried_says_why() -> None:
    world = World()
    world.store("ann@smtp.example.com", hold=True)
    world.clock.run()
    world.courier.operations.act("force-expire", ["ID1"], (), lambda: None)
    world.clock.run()
    lines = world.lines()
    assert any("dsn=4.7.0, status=deferred (message is administratively expired)" in line for line in lines)
    assert "qmgr: ID1: from=<joe@example.org>, status=force-expired, returned to sender" in lines
