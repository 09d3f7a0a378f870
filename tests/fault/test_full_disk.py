"""The disk below the queue is full for some seconds while mail is delivered, deferred, returned and handed in: what was
taken is not lost, nobody is told twice, reports that could not be stored are made later, and it ends by itself."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.fault.test_disk import small_disk
from tests.fault.test_full_for_an_hour import fill
from tests.mixed import Load, World, settled
from tests.whole import until

pytestmark = [pytest.mark.slow, pytest.mark.root]
__all__ = ["small_disk"]


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """What the gateway frees is taken at once."""
    over = threading.Event()
    ballast = fill(disk)

    def keep() -> None:
        while not over.wait(0.02):
            fill(disk)

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
        ballast.unlink()


@pytest.mark.parametrize("killed", ["", pytest.param("courier", marks=pytest.mark.long)])
def test_a_full_disk_under_load(tmp_path: Path, small_disk: Path, killed: str) -> None:
    world = World(tmp_path, message_size_limit="4000")
    load = Load(world, large=False)
    gateway = world.gateway
    gateway.start()
    try:
        load.start()
        until(lambda: len(load.book.accepted) > 60)
        with full(small_disk):
            # Which is said depends on who comes first: a look at the free space, a receiver's write, the courier's.
            said = ("Insufficient system storage", "No space left on device", "disk is full")
            until(lambda: any(words in gateway.log() for words in said))
            time.sleep(1)
            if killed:
                assert gateway.kill(killed)
            before = len(load.book.accepted)
            time.sleep(3)
        stopped = len(load.book.accepted) - before
        until(lambda: len(load.book.accepted) > before + stopped + 60, 60, "it takes mail again")
        load.stop()
        ends = settled(world, load.book)
    finally:
        load.stop()
        gateway.abort()
        world.close()
    missing = ends.missing(load.book)
    print(f"{len(load.book.accepted)} accepted, {stopped} of them in 3 s of a full disk, missing {missing[:10]}")
    assert not missing
    assert not ends.told_twice
    if not killed:
        assert ends.doubles("smtp", "user", "sendmail") == 0
        assert ends.reports_again() == 0 and ends.reports_more("smtp", "user", "sendmail") == 0
    assert "panic" not in gateway.log() and "exit status" not in gateway.log()
