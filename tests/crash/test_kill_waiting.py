"""kill -9 of receivers and courier while mail is deferred, returned, forwarded and on hold: nothing is lost, each
sender hears once of each thing, and nobody but an operator lets go of what is on hold."""

from collections import defaultdict
from pathlib import Path

import pytest
from tests.crash.played import OPEN
from tests.crash.roles import run
from tests.crash.spool_waiting import FORWARDED, HELD, LATE, RETURNED, fate


def check(root: Path, kills: int) -> None:
    lines, courier = run(root, "spool_waiting", kills)
    answered = set(lines)
    delivered: dict[str, int] = defaultdict(int)
    stored: dict[str, set[str]] = defaultdict(set)
    held: set[str] = set()
    released = False
    for line in courier.lines:
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
    assert sum(count - 1 for count in delivered.values()) <= courier.runs * 2 * OPEN


@pytest.mark.slow
def test_kills(tmp_path: Path) -> None:
    check(tmp_path, 20)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_many_kills(tmp_path: Path) -> None:
    check(tmp_path, 600)
