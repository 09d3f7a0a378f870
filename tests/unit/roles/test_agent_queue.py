import socket
from collections.abc import Iterator

import pytest

from postwarden.ipc.channel import BlockingChannel
from postwarden.ipc.records import Job, ToDeliverer
from postwarden.mail.envelope import Recipient
from postwarden.roles.agent_queue import JobQueue, Work
from postwarden.schedule.workers import ASSURED


@pytest.fixture
def clients() -> Iterator[list[BlockingChannel[Job]]]:
    pairs = [socket.socketpair() for _ in range(2)]
    channels: list[BlockingChannel[Job]] = [BlockingChannel(mine, ToDeliverer) for mine, _ in pairs]
    yield channels
    for channel, (_, other) in zip(channels, pairs, strict=True):
        channel.close()
        other.close()


def work(number: int, address: str, whose: BlockingChannel[Job], transport: str = "local") -> Work:
    job = Job(number, transport, "x", "QID", 0, 0, "", (Recipient(address),), 0, b"", b"")
    return Work(job, [], whose)


def drain(queue: JobQueue) -> list[int]:
    numbers = []
    while (got := queue.next()) is not None:
        numbers.append(got.job.job_id)
    return numbers


def test_one_job_at_a_time_for_a_mailbox(clients: list[BlockingChannel[Job]]) -> None:
    queue, one = JobQueue(), clients[0]
    works = [work(n, address, one) for n, address in enumerate(("a@x", "A@x", "b@x", "a@x"))]
    for each in works:
        queue.add(each)
    assert queue.waiting == 2
    assert drain(queue) == [0, 2]
    queue.done(works[0])
    assert drain(queue) == [1]
    queue.done(works[2])
    queue.done(works[1])
    assert drain(queue) == [3]
    queue.done(works[3])
    assert (queue.busy, queue.waiting, queue.next()) == (0, 0, None)


def test_a_client_that_leaves_takes_its_waiting_jobs_along(clients: list[BlockingChannel[Job]]) -> None:
    queue, gone, stays = JobQueue(), *clients
    first = work(0, "a@x", gone)
    for each in (first, work(1, "a@x", gone), work(2, "b@x", gone), work(3, "b@x", stays), work(4, "a@x", stays)):
        queue.add(each)
    started = queue.next()
    assert started is first
    queue.forget(gone)
    assert drain(queue) == [3]
    queue.done(first)
    assert drain(queue) == [4]


def test_a_transport_with_few_jobs_in_hand_comes_first(clients: list[BlockingChannel[Job]]) -> None:
    queue, one = JobQueue(), clients[0]
    hanging = [work(n, f"{n}@x", one, "hangs") for n in range(ASSURED + 3)]
    for each in hanging:
        queue.add(each)
    assert (queue.waiting, queue.assured) == (ASSURED + 3, ASSURED)
    for _ in range(ASSURED + 1):
        queue.next()
    assert (queue.waiting, queue.assured) == (2, 0)
    quick = [work(100 + n, f"{n}@y", one) for n in range(3)]
    for each in quick:
        queue.add(each)
    assert (queue.waiting, queue.assured) == (5, 3)
    assert drain(queue) == [100, 101, 102, ASSURED + 1, ASSURED + 2]
    for each in hanging + quick:
        queue.done(each)
    assert (queue.busy, queue.waiting, queue.assured) == (0, 0, 0)


def test_between_transports_that_have_enough_it_is_first_in_first_out(clients: list[BlockingChannel[Job]]) -> None:
    queue, one = JobQueue(), clients[0]
    for n in range(4 * ASSURED):
        queue.add(work(n, f"{n}@x", one, "ab"[n % 2]))
    assert drain(queue) == list(range(4 * ASSURED))


def test_clear(clients: list[BlockingChannel[Job]]) -> None:
    queue, one = JobQueue(), clients[0]
    first = work(0, "a@x", one)
    queue.add(first)
    queue.add(work(1, "a@x", one))
    queue.add(work(2, "b@x", one))
    assert queue.next() is first
    queue.clear()
    queue.done(first)
    assert drain(queue) == []
    assert queue.busy == 0
