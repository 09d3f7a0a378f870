"""Programs of the spool that are killed and started again, at any moment."""

import random
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Role:
    """A program that is killed and started again; all that it ever said."""

    def __init__(self, log: Path, program: str, *arguments: str) -> None:
        """`program` is a module of this folder."""
        self._log = log
        self._command = [sys.executable, "-m", f"tests.crash.{program}", *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self.runs = 0

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, cwd=ROOT)
        self.runs += 1

    def kill(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, "it ended by itself"
        self._process.kill()
        self._process.wait()

    def finish(self) -> None:
        """Run it once more, to its end."""
        with self._log.open("ab") as log:
            subprocess.run([*self._command, "once"], stdout=log, cwd=ROOT, check=True, timeout=100)

    @property
    def lines(self) -> list[str]:
        return self._log.read_text().splitlines()


def run(root: Path, courier_program: str, kills: int) -> tuple[list[str], Role]:
    """Two receivers and a courier under `kills`, then the courier to its end: what was answered, and the courier."""
    queue = str(root / "queue")
    choice = random.Random()
    receivers = [Role(root / f"r{n}", "spool_receiver", queue, str(n)) for n in (1, 2)]
    courier = Role(root / "courier", courier_program, queue)
    roles = [*receivers, courier]
    for role in roles:
        role.start()
    for _ in range(kills):
        time.sleep(choice.uniform(0.0, 0.4))  # real processes at real moments: that is what is tested
        role = choice.choice(roles)
        role.kill()
        role.start()
    time.sleep(0.5)
    for role in roles:
        role.kill()
    courier.finish()
    return [line for role in receivers for line in role.lines], courier
