"""kill -9 of receivers and courier at any moment, again and again: nothing that was answered is lost, and a kill
repeats at most the deliveries that were open and one commit group."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OPEN = 50


class Role:
    """A program that is killed and started again; all that it ever said."""

    def __init__(self, log: Path, *command: str) -> None:
        self._log = log
        self._command = [sys.executable, *command]
        self._process: subprocess.Popen[bytes] | None = None
        self.runs = 0

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log)
        self.runs += 1

    def kill(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, "it ended by itself"
        self._process.kill()
        self._process.wait()

    @property
    def lines(self) -> list[str]:
        return self._log.read_text().splitlines()


def run(root: Path, kills: int) -> None:
    queue = root / "queue"
    choice = random.Random()
    receivers = [Role(root / f"r{n}", str(HERE / "spool_receiver.py"), str(queue), str(n)) for n in (1, 2)]
    courier = Role(root / "courier", str(HERE / "spool_courier.py"), str(queue))
    roles = [*receivers, courier]
    for role in roles:
        role.start()
    for _ in range(kills):
        time.sleep(choice.uniform(0.0, 0.4))  # real processes at real moments: that is what is tested
        role = choice.choice(roles)
        role.kill()
        role.start()
    for role in receivers:
        role.kill()
    courier.kill()
    command = [sys.executable, str(HERE / "spool_courier.py"), str(queue), "once"]
    with (root / "courier").open("ab") as log:
        subprocess.run(command, stdout=log, check=True, timeout=100)
    check(receivers, courier, queue)


def check(receivers: list[Role], courier: Role, queue: Path) -> None:
    answered = {line for role in receivers for line in role.lines}
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
    left = [path.name for path in queue.glob("postwarden/incoming/*/*")]
    assert not [name for name in left if name.endswith(".segment")]


@pytest.mark.slow
def test_kills(tmp_path: Path) -> None:
    run(tmp_path, 20)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_many_kills(tmp_path: Path) -> None:
    run(tmp_path, 1000)
