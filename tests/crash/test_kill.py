"""kill -9 of receivers and courier at any moment, again and again: nothing that was answered is lost, and a kill
repeats at most the deliveries that were open and one commit group."""

from pathlib import Path

import pytest
from tests.crash.played import OPEN
from tests.crash.roles import run


def check(root: Path, kills: int) -> None:
    lines, courier = run(root, "spool_courier", kills)
    answered = set(lines)
    delivered: dict[str, int] = {}
    settled: set[str] = set()
    for line in courier.lines:
        word, _, queue_id = line.partition(" ")
        assert word in ("deliver", "settled", "idle"), line
        if word == "deliver":
            assert queue_id not in settled, f"{queue_id} was settled and delivered again"
            delivered[queue_id] = delivered.get(queue_id, 0) + 1
        elif word == "settled":
            settled.add(queue_id)
    assert len(answered) > 50
    assert not answered - set(delivered), f"lost {len(answered - set(delivered))} of {len(answered)}"
    repeated = sum(count - 1 for count in delivered.values())
    assert repeated <= courier.runs * 2 * OPEN
    left = [path.name for path in root.glob("queue/postwarden/incoming/*/*")]
    assert not [name for name in left if name.endswith(".segment")]


@pytest.mark.slow
def test_kills(tmp_path: Path) -> None:
    check(tmp_path, 20)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_many_kills(tmp_path: Path) -> None:
    check(tmp_path, 1000)
