"""kill -9 of receivers and courier while mail is deferred, returned, forwarded and on hold: nothing is lost, each
sender hears once of each thing, and nobody but an operator lets go of what is on hold."""

import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest
from tests.crash.spool_waiting import FORWARDED, HELD, LATE, OPEN, RETURNED, fate
from tests.crash.test_kill import Role

HERE = Path(__file__).parent


def run(root: Path, kills: int) -> None:
    queue = root / "queue"
    choice = random.Random()
    receivers = [Role(root / f"r{n}", str(HERE / "spool_receiver.py"), str(queue), str(n)) for n in (1, 2)]
    courier = Role(root / "courier", str(HERE / "spool_waiting.py"), str(queue))
    roles = [*receivers, courier]
    for role in roles:
        role.start()
    for _ in range(kills):
        time.sleep(choice.uniform(0.0, 0.4))  # real processes at real moments: that is what is tested
        role = choice.choice(roles)
        role.kill()
        role.start()
    time.sleep(0.5)
    for role in receivers:
        role.kill()
    courier.kill()
    command = [sys.executable, str(HERE / "spool_waiting.py"), str(queue), "once"]
    with (root / "courier").open("ab") as log:
        subprocess.run(command, stdout=log, check=True, timeout=100)
    check({line for role in receivers for line in role.lines}, courier.lines, courier.runs)


def check(answered: set[str], lines: list[str], runs: int) -> None:
    delivered: dict[str, int] = defaultdict(int)
    stored: dict[str, set[str]] = defaultdict(set)
    held: set[str] = set()
    released = False
    for line in lines:
        word, _, queue_id = line.partition(" ")
        assert word in ("deliver", "hold", "released", "idle"), line
        released |= word == "released"
        if word == "deliver":
            delivered[queue_id] += 1
            if queue_id[0] in "NRT":
                stored[queue_id.partition(".")[0]].add(queue_id)
            assert fate(queue_id) != HELD or released, f"{queue_id} was let go"
        elif word == "hold":
            held.add(queue_id)
    assert len(answered) > 50
    assert {fate(queue_id) for queue_id in answered} >= {LATE, RETURNED, HELD, FORWARDED}
    letter = {RETURNED: "R", FORWARDED: "T"}
    for queue_id in answered:
        wanted = letter.get(fate(queue_id), "") + queue_id
        assert wanted in delivered or wanted in stored, f"{queue_id} is lost"
        assert fate(queue_id) != LATE or f"N{queue_id}" in stored, f"nobody was told that {queue_id} is late"
    assert held <= set(delivered)
    twice = {name: kinds for name, kinds in stored.items() if len(kinds) > 1}
    assert not twice, "told twice"
    assert sum(count - 1 for count in delivered.values()) <= runs * 2 * OPEN


@pytest.mark.slow
def test_kills(tmp_path: Path) -> None:
    run(tmp_path, 20)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_many_kills(tmp_path: Path) -> None:
    run(tmp_path, 600)
