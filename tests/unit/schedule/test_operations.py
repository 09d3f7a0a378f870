"""What operators do with messages, those in the courier's hands and the others."""

import pytest
from msgspec.structs import replace
from tests.unit.schedule.test_courier import BOUNCED, DEFERRED, SENT, START, World

from postwarden.ipc.queue_records import DELETE, EXPIRE, FORCE_EXPIRE, HOLD, RELEASE, REQUEUE
from postwarden.ipc.records import Forward
from postwarden.mail.decision import Pending
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.queue import HOLD as ON_HOLD
from postwarden.mail.queue import NewMessage
from postwarden.mail.status import Status


def act(world: World, operation: str, *queue_ids: str, queues: tuple[str, ...] = ()) -> list[str]:
    over: list[bool] = []
    acting = world.courier.operations.act(operation, queue_ids, queues, lambda: over.append(True))
    world.clock.run()
    assert len(over) == (0 if acting.waiting else 1)
    return acting.done


def waiting(world: World, count: int = 1) -> None:
    """Deferred messages ID1 …"""
    for _ in range(count):
        world.store("ann@smtp.example.com")
        world.clock.run()
        world.answer(world.remote.jobs.pop(), DEFERRED)
    world.lines()


def where(world: World) -> dict[str, str]:
    found = {}
    for listed in world.ledger.page(None)[0]:
        found[listed.queue_id] = listed.queue(listed.state())
    return found


def test_what_waits_is_deleted_held_and_released() -> None:
    world = World()
    waiting(world, 3)
    assert act(world, DELETE, "ID1", "ID1", "NONE") == ["ID1"]
    assert act(world, HOLD, "ID2") == ["ID2"]
    assert act(world, HOLD, "ID2") == [], "it is on hold already"
    assert where(world) == {"ID2": "hold", "ID3": "deferred"}
    world.courier.flush()
    world.clock.run()
    assert [job.queue_id for job in world.remote.jobs] == ["ID3"]
    assert act(world, RELEASE, "ID2", "ID3") == ["ID2"]
    assert [job.queue_id for job in world.remote.jobs] == ["ID3", "ID2"], "it is tried at once"


def test_a_listing_shows_what_a_round_has_come_to_before_it_ends() -> None:
    world = World(default_destination_recipient_limit="1")
    world.store(*(f"{name}@smtp.example.com" for name in ("ann", "bob", "cid", "dan")))
    world.clock.run()
    for job, status in zip(world.remote.jobs[:3], (DEFERRED, SENT, BOUNCED), strict=True):
        world.answer(job, status)
    ((listed,), _) = world.courier.operations.page(None)
    state = listed.state()
    assert listed.queue(state) == "active"
    assert (state.open, state.reasons) == ((0, 3), {0: DEFERRED})
    world.answer(world.remote.jobs[3], DEFERRED)
    (report, listed), _ = world.courier.operations.page(None)
    assert report.queue_id != "ID1" == listed.queue_id
    assert listed.state().open == (0, 3) and listed.queue(listed.state()) == "deferred"


def test_only_in_the_queues_that_were_named() -> None:
    world = World()
    waiting(world, 2)
    act(world, HOLD, "ID1")
    assert act(world, DELETE, "ID1", "ID2", queues=("hold", "active")) == ["ID1"]
    world.courier.flush()
    world.clock.run()
    assert act(world, DELETE, "ID2", queues=("deferred",)) == []
    assert where(world) == {"ID2": "active"}


def test_a_deletion_does_not_wait_for_what_is_being_delivered() -> None:
    world = World(default_destination_recipient_limit="1")
    world.store("ann@smtp.example.com", "bob@smtp.example.org", "cid@smtp.example.com")
    world.clock.run()
    jobs = world.remote.jobs[:]
    assert act(world, DELETE, "ID1") == ["ID1"]
    assert where(world) == {}
    for job in jobs:
        world.answer(job, BOUNCED)
    assert world.courier.figures == {"active": 0, "waiting": 0, "delivering": 0}
    assert not any("removed" in line or "notification" in line for line in world.lines())


def test_what_has_not_begun_is_pulled_back() -> None:
    world = World("smtp unix - - n - 1 smtp", default_destination_recipient_limit="1")
    world.store("ann@smtp.example.com", "bob@smtp.example.com")
    world.clock.run()
    (job,) = world.remote.jobs
    assert act(world, HOLD, "ID1") == [], "one delivery is under way"
    world.answer(job, SENT)
    assert where(world) == {"ID1": "hold"}
    assert len(world.remote.jobs) == 1
    (entry,) = world.ledger.away.values()
    assert (entry.open, entry.due) == ((1,), ON_HOLD)
    assert world.courier.figures == {"active": 0, "waiting": 0, "delivering": 0}


def test_a_message_that_is_delivered_meanwhile_is_not_held() -> None:
    world = World()
    world.store("ann@smtp.example.com")
    world.clock.run()
    over: list[bool] = []
    acting = world.courier.operations.act(HOLD, ["ID1"], (), lambda: over.append(True))
    assert not acting.only_waits, "said before it is durable"
    world.clock.run()
    assert acting.only_waits
    world.answer(world.remote.jobs.pop(), SENT)
    assert (over, acting.done, where(world)) == ([True], [], {})


def test_who_would_hold_it_hears_that_it_was_deleted() -> None:
    world = World()
    world.store("ann@smtp.example.com")
    world.clock.run()
    over: list[bool] = []
    acting = world.courier.operations.act(HOLD, ["ID1"], (), lambda: over.append(True))
    assert act(world, DELETE, "ID1") == ["ID1"]
    world.clock.run()
    assert (over, acting.done, where(world)) == ([True], [], {})


def test_a_hold_outlives_the_courier() -> None:
    world = World()
    world.store("ann@smtp.example.com", "bob@smtp.example.org")
    world.clock.run()
    assert act(world, HOLD, "ID1") == []
    (entry,) = world.ledger.held.values()
    assert entry.due == ON_HOLD
    world.answer(world.remote.jobs.pop(), SENT)
    assert entry.due == ON_HOLD
    world.answer(world.remote.jobs.pop(), DEFERRED)
    assert where(world) == {"ID1": "hold"}
    act(world, RELEASE, "ID1")
    assert len(world.remote.jobs) == 1


def test_what_is_to_be_held_may_be_released_before_its_deliveries_end() -> None:
    world = World()
    world.store("ann@smtp.example.com")
    world.clock.run()
    act(world, HOLD, "ID1")
    assert not world.courier.operations.act(HOLD, ["ID1"], (), lambda: None).waiting
    released = world.courier.operations.act(RELEASE, ["ID1"], ("hold",), lambda: None)
    assert released.waiting == {"ID1"}
    world.answer(world.remote.jobs.pop(), DEFERRED)
    assert len(world.remote.jobs) == 1, "it is tried at once"
    assert released.done == ["ID1"]
    world.answer(world.remote.jobs.pop(), SENT)
    assert where(world) == {}


def test_a_carrier_that_dies_with_a_deleted_message() -> None:
    world = World()
    world.store("ann@smtp.example.com")
    world.clock.run()
    act(world, DELETE, "ID1")
    world.courier.worker_left("carrier", world.crew)
    world.hire()
    world.clock.run()
    assert world.courier.figures == {"active": 0, "waiting": 0, "delivering": 0}


def test_requeueing_prepares_again_under_a_new_id() -> None:
    world = World()
    waiting(world)
    arrival = world.clock.now()
    world.clock.advance(60)
    world.lines()
    assert act(world, REQUEUE, "ID1") == ["ID1"]
    (job,) = world.remote.jobs
    assert job.queue_id == "NEW1"
    assert job.head == b"Received: again as NEW1\r\nSubject: hi\r\n\r\n"
    assert job.arrival == arrival
    assert "pickup: NEW1: uid=8 from=<joe@example.org> orig_id=ID1" in world.lines()
    world.answer(job, SENT)
    assert where(world) == {}


def test_what_was_delivered_before_is_told_of_after_requeueing() -> None:
    """The courier was killed in the middle of the first round; an operator requeues before the next."""
    world = World()
    envelope = Envelope("ID1", START, "joe@smtp.b", (Recipient("ann@smtp.a"), Recipient("bob@smtp.a")), 17)
    world.ledger.import_(
        [NewMessage(envelope, b"head\r\n\r\n", b"body", due=START + 9, untold={0: SENT})], lambda: None
    )
    world.clock.run()
    assert act(world, REQUEUE, "ID1") == ["ID1"]
    (job,) = world.remote.jobs
    assert (job.queue_id, [recipient.address for recipient in job.recipients]) == ("NEW1", ["bob@smtp.a"])
    world.answer(job, SENT)
    (report,) = world.remote.jobs[1:]
    assert report.body == b"1 of 1: 250 ok"


def test_what_content_refuses_is_not_requeued_and_not_lost() -> None:
    world = World()
    waiting(world)
    world.clerk = lambda *_: Status("5.4.0", "too many hops")
    assert act(world, REQUEUE, "ID1") == []
    assert where(world) == {"ID1": "deferred"}
    assert any("not requeued: too many hops" in line for line in world.lines())


def test_what_is_active_is_requeued_when_its_deliveries_have_ended() -> None:
    world = World("smtp unix - - n - 1 smtp", default_destination_recipient_limit="1")
    world.store("ann@smtp.example.com", "bob@smtp.example.com")
    world.clock.run()
    acting = world.courier.operations.act(REQUEUE, ["ID1"], (), lambda: None)
    world.answer(world.remote.jobs.pop(), SENT)
    assert acting.done == ["ID1"]
    (job,) = world.remote.jobs
    assert [recipient.address for recipient in job.recipients] == ["bob@smtp.example.com"]


def test_expired_mail_is_returned_with_the_reason_of_its_delay() -> None:
    world = World()
    waiting(world)
    assert act(world, EXPIRE, "ID1") == ["ID1"]
    assert where(world) == {"ID1": "deferred"}
    world.courier.flush()
    world.clock.run()
    lines = world.lines()
    assert "qmgr: ID1: from=<joe@example.org>, status=force-expired, returned to sender" in lines
    assert not any("ann@" in line and "status=deferred" in line for line in lines)
    (bounce,) = [new for change in world.ledger.changes for new in change.spawned]
    assert DEFERRED.text.encode() in bounce.body


def test_on_hold_it_expires_when_it_is_released() -> None:
    world = World()
    waiting(world, 2)
    act(world, HOLD, "ID1", "ID2")
    assert act(world, EXPIRE, "ID1") == ["ID1"]
    world.courier.flush()
    world.clock.run()
    assert where(world) == {"ID1": "hold", "ID2": "hold"}
    assert act(world, FORCE_EXPIRE, "ID2") == ["ID2"]
    assert any("ID2: removed" in line for line in world.lines())
    act(world, RELEASE, "ID1")
    assert any("ID1: removed" in line for line in world.lines())


def test_what_is_active_expires_when_this_round_fails() -> None:
    world = World()
    world.store("ann@smtp.example.com")
    world.clock.run()
    assert act(world, EXPIRE, "ID1") == ["ID1"]
    world.answer(world.remote.jobs.pop(), DEFERRED)
    assert any("status=force-expired" in line for line in world.lines())


@pytest.mark.parametrize("operation", [DELETE, HOLD, REQUEUE, EXPIRE])
def test_a_message_whose_route_is_still_looked_up(operation: str) -> None:
    from postwarden.mail.decision import Pending

    world = World()
    plain = world.resolver

    class Slow:
        known = False

        def resolve(self, recipient: str, sender: str | None = None) -> object:
            if not self.known:
                raise Pending(lambda: None)  # type: ignore[arg-type, return-value]
            return plain.resolve(recipient)

    world.resolver = slow = Slow()  # type: ignore[assignment]
    world.store("ann@smtp.example.com")
    world.clock.run()
    acting = world.courier.operations.act(operation, ["ID1"], (), lambda: None)
    world.clock.run()
    slow.known = True
    for _, done in world.fetches:
        done()
    world.clock.run()
    assert acting.done == ["ID1"]
    assert not acting.waiting
    if operation == HOLD:
        assert (where(world), world.remote.jobs) == ({"ID1": "hold"}, [])
    for job in list(world.remote.jobs):
        world.answer(job, SENT)
    assert world.courier.figures == {"active": 0, "waiting": 0, "delivering": 0}


def test_one_message_is_flushed() -> None:
    world = World()
    waiting(world, 3)
    act(world, HOLD, "ID3")
    for queue_id in ("ID2", "ID3", "NONE", "ID2"):
        world.courier.operations.flush_message(queue_id)
    world.clock.run()
    assert [job.queue_id for job in world.remote.jobs] == ["ID2"]


def test_one_site_is_flushed() -> None:
    world = World()
    waiting(world)
    assert not world.courier.operations.flush_site("other.example")
    assert world.courier.operations.flush_site("Slow.Example")


def test_what_came_in_to_be_held_waits_for_its_release() -> None:
    world = World()
    world.store("ann@smtp.example.com", hold=True)
    world.store("ann@smtp.example.com")
    world.clock.run()
    assert where(world) == {"ID1": "hold", "ID2": "active"}
    assert [job.queue_id for job in world.remote.jobs] == ["ID2"]
    assert not any("ID1" in line for line in world.lines())
    assert act(world, RELEASE, "ID1") == ["ID1"]
    assert [job.queue_id for job in world.remote.jobs] == ["ID2", "ID1"]


def test_flushing_one_by_one_does_not_fill_the_memory() -> None:
    world = World(qmgr_message_active_limit="2")
    waiting(world, 5)
    for n in range(1, 6):
        world.courier.operations.flush_message(f"ID{n}")
    world.clock.run()
    assert world.courier.figures["active"] == 2
    seen = []
    while world.remote.jobs:
        job = world.remote.jobs.pop(0)
        seen.append(job.queue_id)
        world.answer(job, SENT)
        world.clock.advance(1)
    assert sorted(seen) == ["ID1", "ID2", "ID3", "ID4", "ID5"]


def test_what_a_released_message_becomes_is_not_on_hold() -> None:
    world = World("local unix - n n - - local\nsmtp unix - - n - - smtp")
    agent, crew = world.hire("agent")
    world.store("list@local.here", hold=True)
    world.clock.run()
    act(world, RELEASE, "ID1")
    world.courier.forwarded(crew, Forward(agent.jobs[0].job_id, 0, "", (Recipient("x@smtp.x"),)))
    world.answer(agent.jobs[0], SENT, crew=crew)
    (made,) = [new for change in world.ledger.changes for new in change.spawned]
    assert (made.envelope.hold, made.envelope.created) == (False, 0.0)


def test_what_comes_in_on_hold_and_was_not_looked_at_stays_there() -> None:
    world = World(qmgr_message_active_limit="1")
    world.store("ann@smtp.example.com")
    world.store("bob@smtp.example.com", hold=True)
    world.store("cid@smtp.example.com", hold=True)
    world.clock.run()
    assert where(world) == {"ID1": "active", "ID2": "hold", "ID3": "hold"}
    assert act(world, EXPIRE, "ID2") == ["ID2"]
    world.courier.operations.flush_message("ID3")
    assert where(world) == {"ID1": "active", "ID2": "hold", "ID3": "hold"}


def test_what_waits_in_memory_for_others_is_in_hand() -> None:
    """The ledger could not give it back at once: its place in the segment has been passed."""
    world = World(qmgr_message_recipient_limit="3", qmgr_message_recipient_minimum="1")
    for _ in range(4):
        world.store("ann@smtp.example.com", "bob@smtp.example.com")
    world.clock.run()
    assert len(world.remote.jobs) == 2
    kept = set(world.ledger.held)
    assert act(world, DELETE, "ID3", queues=("incoming",)) == []
    assert act(world, DELETE, "ID3", "ID4", queues=("active",)) == ["ID3", "ID4"]
    assert len(kept) == 4 and len(world.ledger.held) == 2
    assert not any(change.due for change in world.ledger.changes)


def test_what_is_requeued_may_be_put_on_hold_by_content() -> None:
    world = World()
    waiting(world)
    world.clerk = lambda envelope, head: (replace(envelope, hold=True), head)
    assert act(world, REQUEUE, "ID1") == ["ID1"]
    assert list(where(world).values()) == ["hold"] and not world.remote.jobs


def test_facts_without_end_keep_a_message_as_it_is() -> None:
    world = World()
    waiting(world)

    async def fact() -> None: ...

    def clerk(envelope: Envelope, head: bytes) -> tuple[Envelope, bytes]:
        raise Pending(fact)

    world.clerk = clerk
    over: list[bool] = []
    acting = world.courier.operations.act(REQUEUE, ["ID1"], (), lambda: over.append(True))
    for _ in range(1000):
        if over:
            break
        world.fetches.pop()[1]()
    assert over and acting.done == [] and where(world) == {"ID1": "deferred"}


def test_what_is_to_be_held_is_not_begun_again_when_its_worker_dies() -> None:
    world = World()
    world.store("ann@smtp.example.com")
    world.clock.run()
    assert act(world, HOLD, "ID1") == []
    world.courier.worker_left("carrier", world.crew)
    world.clock.run()
    assert where(world) == {"ID1": "hold"}
    assert world.courier.figures == {"active": 0, "waiting": 0, "delivering": 0}
