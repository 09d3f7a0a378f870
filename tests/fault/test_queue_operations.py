"""The courier is killed while operators work on the queue: what was said to be done is done, and nothing is lost or
there twice."""

import smtplib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from tests.whole import Deferring, Gateway, Sink, running, until

from postwarden.ipc.queue_client import Down, QueueClient

pytestmark = pytest.mark.slow

COUNT = 300
T = TypeVar("T")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Deferring]:
    """COUNT deferred messages, numbered in their subjects."""
    gateway = Deferring(tmp_path)
    with running(gateway):
        with smtplib.SMTP("127.0.0.1", gateway.port) as client:
            for n in range(COUNT):
                client.sendmail("joe@example.org", ["ann@slow.example"], f"Subject: {n}\n\nx\n")
        until(lambda: patiently(gateway, states) == {"deferred": COUNT}, 60)
        yield gateway


def states(client: QueueClient) -> Counter[str]:
    return Counter(listed.queue(listed.state()) for listed in client.listing())


def patiently(gateway: Gateway, ask: Callable[[QueueClient], T]) -> T:
    """Ask until somebody answers."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with QueueClient(str(gateway.queue)) as client:
                return ask(client)
        except Down:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def with_kills(gateway: Gateway, work: Callable[[QueueClient], bool]) -> None:
    """Do it again and again, until it says that all is done, while the courier is killed five times."""
    over = threading.Event()

    def kill() -> None:
        for _ in range(5):
            if over.wait(0.3):
                return
            gateway.kill("courier")

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        while killer.is_alive() or not patiently(gateway, work):
            try:
                with QueueClient(str(gateway.queue)) as client:
                    work(client)
            except Down:
                time.sleep(0.01)
    finally:
        over.set()
        killer.join()


def subjects(sink: Sink) -> Counter[int]:
    return Counter(int(content.partition(b"Subject: ")[2].split()[0]) for _, _, content in sink.messages)


def all_arrive_once(gateway: Gateway, expected: int = COUNT) -> Counter[int]:
    sink = Sink(port=gateway.slow)

    def gone() -> bool:
        patiently(gateway, QueueClient.flush)
        return not patiently(gateway, states)

    until(gone, 60)
    arrived = subjects(sink)
    sink.close()
    assert len(arrived) == expected
    assert set(arrived.values()) <= {1}
    return arrived


def test_requeueing_loses_nothing_and_makes_nothing_twice(gateway: Gateway) -> None:
    with_kills(gateway, lambda client: len(list(client.act_on_all("requeue"))) >= 0)
    until(lambda: patiently(gateway, states).total() == COUNT)
    all_arrive_once(gateway)


def test_hold_and_release(gateway: Gateway) -> None:
    with_kills(gateway, lambda client: [*client.act_on_all("hold")] == [] and states(client) == {"hold": COUNT})
    with_kills(gateway, lambda client: [*client.act_on_all("release")] == [] and not states(client)["hold"])
    all_arrive_once(gateway)


def test_what_was_said_to_be_deleted_stays_deleted(gateway: Gateway) -> None:
    ids = patiently(gateway, lambda client: [listed.queue_id for listed in client.listing()])
    wanted, deleted = ids[: COUNT // 2], set[str]()

    def delete(client: QueueClient) -> bool:
        for queue_id in wanted:
            deleted.update(client.act("delete", [queue_id]))
            if queue_id in deleted:
                assert not list(client.act("delete", [queue_id]))
        return True

    with_kills(gateway, delete)
    left = patiently(gateway, lambda client: {listed.queue_id for listed in client.listing()})
    assert not deleted & left
    assert left == set(ids[COUNT // 2 :])
    all_arrive_once(gateway, COUNT - COUNT // 2)
