import threading

import pytest

from postwarden.spool.writer import GroupWriter
from postwarden.testing.spool import Pump


def test_what_waits_is_one_group() -> None:
    pump, gate, seen = Pump(), threading.Event(), []
    started = threading.Event()

    def commit(group: list[int]) -> int:
        started.set()
        gate.wait(10)
        return len(group)

    writer = GroupWriter[int, int](commit, lambda group, size: seen.append((group, size)), pump.post, "test")
    writer.submit(1)
    assert started.wait(10)
    for n in (2, 3, 4):
        writer.submit(n)
    gate.set()
    pump.until(lambda: len(seen) == 2)
    assert seen == [([1], 1), ([2, 3, 4], 3)]
    writer.close()


def test_close_commits_what_was_submitted() -> None:
    pump, committed = Pump(), []
    writer = GroupWriter[int, None](committed.extend, lambda group, _: None, pump.post, "test")
    for n in range(100):
        writer.submit(n)
    writer.close()
    assert committed == list(range(100))


def test_a_bug_in_a_commit_ends_the_process() -> None:
    pump = Pump()

    def commit(group: list[int]) -> None:
        raise ZeroDivisionError

    writer = GroupWriter[int, None](commit, lambda group, _: None, pump.post, "test")
    writer.submit(1)
    with pytest.raises(SystemExit) as ended:
        pump.until(lambda: False)
    assert isinstance(ended.value.__cause__, ZeroDivisionError)
    writer.close()
