"""kill -9 of every role while mail is delivered, deferred, returned, handed in by local users and handled by operators:
whoever is owed a message or a report has it in the end, and nobody is told twice of one failure."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from tests.fault.test_kill import kill
from tests.mixed import Ends, Load, World, settled
from tests.whole import children

pytestmark = pytest.mark.slow

ROLES = ("receiver", "courier", "carrier", "agent", "master")
OPEN = 60
"""Deliveries that a kill repeats at most: 20 to each of two destinations, a few to mailboxes, one commit group."""


@pytest.mark.parametrize("role", ROLES)
def test_kills(tmp_path: Path, role: str) -> None:
    loop(tmp_path, role, 2.0, 2, (0.6,))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("role", ROLES)
def test_many_kills(tmp_path: Path, role: str) -> None:
    loop(tmp_path, role, 60.0, 5, (10.3, 1.0))  # the master lets a role wait that dies young for the second time


def loop(tmp_path: Path, role: str, seconds: float, least: int, pauses: Sequence[float]) -> None:
    world = World(tmp_path)
    load = Load(world)
    world.gateway.start()
    kills = 0
    try:
        load.start()
        begin = time.monotonic()
        while time.monotonic() < begin + seconds or (
            (kills < least or len(load.book.accepted) < 40) and time.monotonic() < begin + 60
        ):
            time.sleep(pauses[kills % len(pauses)])
            kills += kill(world.gateway, role)
        load.stop()
        ends = settled(world, load.book, 60 + seconds)
    finally:
        load.stop()
        world.gateway.abort()
        world.close()
    assert kills >= least
    print(figures(role, kills, load, ends))
    check(role, kills, load, ends)
    assert "internal error" not in world.gateway.log()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_all_kinds_of_trouble(tmp_path: Path) -> None:
    """Kills of everybody, also of those that deliver to mailboxes and bring local mail, and reloads and stops."""
    world = World(tmp_path)
    gateway = world.gateway
    load = Load(world)

    def kill_below_the_agent() -> None:
        for pid in [child for agent in gateway.pids("agent") for child in children(agent)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop_and_start() -> None:
        gateway.stop()
        gateway.start()

    troubles: dict[str, Callable[[], object]] = {role: partial(kill, gateway, role) for role in ROLES}
    troubles |= {"below the agent": kill_below_the_agent, "stop": stop_and_start}
    troubles["reload"] = lambda: os.kill(gateway.master_pid, signal.SIGHUP)
    count = 0
    gateway.start()
    try:
        load.start()
        begin = time.monotonic()
        while time.monotonic() < begin + 60:
            time.sleep(random.uniform(0.2, 2.0))
            troubles[random.choice(sorted(troubles))]()
            count += 1
        load.stop()
        ends = settled(world, load.book, 120)
    finally:
        load.stop()
        gateway.abort()
        world.close()
    print(figures("all", count, load, ends))
    check("all", count, load, ends)
    assert "internal error" not in gateway.log()


def figures(role: str, kills: int, load: Load, ends: Ends) -> str:
    kinds = ("smtp", "user", "sendmail")
    accepted = {who: sum(name.startswith(who) for name in load.book.accepted) for who in kinds}
    return (
        f"{role}: {kills} kills, accepted {accepted}, operations {dict(load.operations)}, delivered again "
        f"{ {who: ends.doubles(who) for who in kinds} }, reports {len(ends.failed)}, delivered again "
        f"{ends.reports_again()}, more than one {ends.reports_more('smtp', 'user')}/{ends.reports_more('sendmail')}"
    )


def check(role: str, kills: int, load: Load, ends: Ends) -> None:
    assert len(load.book.accepted) > 30
    missing = ends.missing(load.book)
    assert not missing, f"{len(missing)} of {len(load.book.accepted)}: {missing[:20]}"
    assert not ends.told_twice
    assert ends.reports_more("smtp", "user") == 0
    if role in ("receiver", "master"):
        assert ends.doubles("smtp", "user") == 0 and ends.reports_again() == 0
    assert ends.doubles("smtp", "user") <= kills * OPEN
    assert ends.reports_again() <= kills * OPEN
    # One that sendmail handed in when nobody was left to answer it, and one that was being brought from maildrop.
    assert ends.doubles("sendmail") <= kills * 2 * 3 + ends.doubles("smtp", "user")
    assert ends.reports_more("sendmail") <= kills * 2 * 3
