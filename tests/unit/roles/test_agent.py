"""The agent's process, driven as the master and the courier drive it."""

import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.whole import until

from postwarden.config.settings import Settings, load
from postwarden.ipc.channel import BlockingChannel
from postwarden.ipc.records import (
    Drain,
    FromDeliverer,
    FromMaster,
    Job,
    Link,
    Outcome,
    Ready,
    Reconfigure,
    Refused,
    Report,
    Start,
    ToMaster,
)
from postwarden.mail.envelope import Recipient
from postwarden.roles.agent_hands import Hand, Killed
from postwarden.roles.leash import Leash

ME = pwd.getpwuid(os.geteuid()).pw_name
MASTER_CF = "local unix - n n - - local\nvirtual unix - n n - - virtual\n"
MAIN_CF = """\
compatibility_level = 3.6
myhostname = mx.example.com
mydestination = mx.example.com
mail_owner = {owner}
alias_maps = inline:{{ {{two=joe,jane}} }}
mail_spool_directory = {base}/mail
deliver_lock_attempts = {attempts}
command_time_limit = {limit}
"""
FIFO_WAIT = "60s"


class Agent:
    def __init__(self, base: Path, *, attempts: int = 2, limit: str = "100s") -> None:
        self.base = base
        self.log = base / "log"
        (base / "mail").mkdir()
        (base / "mail").chmod(0o1777)
        for directory in (base, *base.parents[:2]):
            if os.geteuid() == 0:
                directory.chmod(directory.stat().st_mode | 0o055)
        (base / "master.cf").write_text(MASTER_CF)
        owner = "mail" if os.geteuid() == 0 else ME
        (base / "main.cf").write_text(MAIN_CF.format(base=base, owner=owner, attempts=attempts, limit=limit))
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "import os, socket, sys; from postwarden.roles.agent import main;"
                 "sys.exit(main(socket.socket(fileno=int(sys.argv[1]))))", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
            )  # fmt: skip
        self.master: BlockingChannel[FromMaster] = BlockingChannel(ours, ToMaster)
        log = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        start = Start("agent", 0, 0, msgspec.msgpack.encode(self.settings()), "", (), "fd")
        self.master.send(start, [log])
        os.close(log)
        self.courier = self.link()

    def settings(self) -> Settings:
        return load(self.base)

    def link(self) -> BlockingChannel[Job]:
        ours, theirs = socket.socketpair()
        with theirs:
            self.master.send(Link("courier", 0, 0), [theirs.fileno()])
        return BlockingChannel(ours, FromDeliverer)

    def heard(self) -> object:
        """The next thing that the master hears, but reports."""
        while (records := self.master.receive()) is not None:
            for record, _ in records:
                if not isinstance(record, Report):
                    return record
        return None

    def job(self, number: int, *recipients: str, fd: int = -1, transport: str = "local") -> None:
        to = tuple(Recipient(f"{name}@mx.example.com") for name in recipients)
        now = time.time()
        body = b"hello\r\n" if fd < 0 else None
        job = Job(number, transport, "x", f"Q{number}", now, now, "s@x.example", to, 0, b"A: b\r\n\r\n", body)
        if fd >= 0:
            job = msgspec.structs.replace(job, body_offset=3, body_size=7)
        self.courier.send(job, [] if fd < 0 else [fd])

    def outcomes(self, count: int) -> list[Outcome]:
        found: list[Outcome] = []
        while len(found) < count and (records := self.courier.receive()) is not None:
            found += [record for record, _ in records if isinstance(record, Outcome)]
        return found

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        # Each leads a process group of its own, as whoever picks local mail up does not.
        return [int(pid) for pid in children.split() if _leads(int(pid))]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.master.close()
        self.courier.close()


def _leads(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(tmp_path)
    yield agent
    agent.end()


def text(outcome: Outcome) -> tuple[str, str]:
    return outcome.results[0].code, outcome.results[0].text


def test_a_delivery_to_oneself(agent: Agent) -> None:
    assert agent.heard() == Ready()
    agent.job(1, ME)
    (outcome,) = agent.outcomes(1)
    assert text(outcome) == ("2.0.0", "delivered to mailbox")
    assert b"\nhello\n" in (agent.base / "mail" / ME).read_bytes()
    line = agent.log.read_text()
    assert f"postfix/local[{agent.workers()[0]}]: Q1: to=<{ME}@mx.example.com>, relay=local" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_worker_rests_without_rights(agent: Agent) -> None:
    assert agent.heard() == Ready()
    agent.job(1, ME)
    agent.outcomes(1)
    (worker,) = agent.workers()
    status = Path(f"/proc/{worker}/status").read_text()
    mail = pwd.getpwnam("mail")
    assert f"Uid:\t0\t{mail.pw_uid}\t0\t{mail.pw_uid}\n" in status
    assert f"Gid:\t0\t{mail.pw_gid}\t0\t{mail.pw_gid}\n" in status
    assert f"Groups:\t{mail.pw_gid} \n" in status


def test_a_body_that_comes_as_a_file(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"xxxhello\r\nyyy")
    with (tmp_path / "body").open("rb") as body:
        agent.job(1, ME, fd=body.fileno())
    assert text(agent.outcomes(1)[0]) == ("2.0.0", "delivered to mailbox")
    assert (agent.base / "mail" / ME).read_bytes().endswith(b"A: b\n\nhello\n\n")


def test_many_jobs(agent: Agent) -> None:
    for number in range(30):
        agent.job(number, ME if number % 2 else f"nosuch{number}")
    outcomes = {outcome.job_id: text(outcome)[0] for outcome in agent.outcomes(30)}
    assert outcomes == {number: "2.0.0" if number % 2 else "5.1.1" for number in range(30)}
    assert (agent.base / "mail" / ME).read_bytes().count(b"\nhello\n") == 15


def test_a_transport_that_is_not_ours(agent: Agent) -> None:
    agent.job(1, "x", transport="pipe")
    assert text(agent.outcomes(1)[0]) == ("4.3.0", "mail transport unavailable: pipe")


def test_a_worker_that_dies_costs_one_delivery(agent: Agent) -> None:
    (agent.base / "mail" / f"{ME}.lock").touch()
    assert agent.heard() == Ready()
    agent.job(1, ME)
    (worker,) = agent.workers()
    until(lambda: _sleeps(worker))
    os.kill(worker, signal.SIGKILL)
    assert text(agent.outcomes(1)[0]) == ("4.3.0", "local delivery agent died unexpectedly")
    until(lambda: f"process local pid {worker} died while delivering Q1" in agent.log.read_text())
    agent.job(2, "nosuch")
    assert text(agent.outcomes(1)[0])[0] == "5.1.1"


def _sleeps(pid: int) -> bool:
    """It waits for a lock: a clock is what it sleeps on."""
    return (
        "clock_nanosleep" in Path(f"/proc/{pid}/wchan").read_text()
        or "hrtimer" in Path(f"/proc/{pid}/wchan").read_text()
    )


def test_a_late_worker_is_killed_with_its_group(tmp_path: Path) -> None:
    agent = Agent(tmp_path, attempts=1000, limit="1s")
    try:
        (agent.base / "mail" / f"{ME}.lock").touch()
        agent.job(1, ME)
        assert text(agent.outcomes(1)[0]) == ("4.3.0", "local delivery agent died unexpectedly")
        until(lambda: "Q1: delivery took longer than 1 s: killed" in agent.log.read_text())
    finally:
        agent.end()


def test_a_configuration_is_swapped_in_place(agent: Agent) -> None:
    assert agent.heard() == Ready()
    (worker,) = agent.workers()
    (agent.base / "other").mkdir()
    (agent.base / "other").chmod(0o1777)
    main_cf = agent.base / "main.cf"
    main_cf.write_text(main_cf.read_text() + f"mail_spool_directory = {agent.base}/other\n")
    agent.master.send(Reconfigure(msgspec.msgpack.encode(agent.settings())))
    assert agent.heard() == Ready()
    agent.job(1, ME)
    agent.outcomes(1)
    assert (agent.base / "other" / ME).exists()
    until(lambda: worker not in agent.workers())


def test_a_configuration_that_can_not_be_used_changes_nothing(agent: Agent) -> None:
    assert agent.heard() == Ready()
    main_cf = agent.base / "main.cf"
    main_cf.write_text(main_cf.read_text() + "default_privs = root\n")
    agent.master.send(Reconfigure(msgspec.msgpack.encode(agent.settings())))
    refused = agent.heard()
    assert isinstance(refused, Refused)
    assert refused.reason.startswith(f"{main_cf}:")
    agent.job(1, ME)
    assert text(agent.outcomes(1)[0])[0] == "2.0.0"


def test_a_courier_that_comes_back(agent: Agent) -> None:
    agent.courier.close()
    agent.courier = agent.link()
    agent.job(1, ME)
    assert text(agent.outcomes(1)[0])[0] == "2.0.0"


def test_it_ends_when_it_is_told(agent: Agent) -> None:
    assert agent.heard() == Ready()
    agent.job(1, ME)
    agent.outcomes(1)
    workers = agent.workers()
    agent.master.send(Drain(True))
    assert agent.process.wait(60) == 0
    until(lambda: not any(map(_lives, workers)))


def test_it_ends_when_the_master_dies(agent: Agent) -> None:
    assert agent.heard() == Ready()
    agent.master.close()
    assert agent.process.wait(60) == 0


def test_workers_end_when_the_supervisor_dies(agent: Agent) -> None:
    assert agent.heard() == Ready()
    (worker,) = agent.workers()
    agent.process.kill()
    until(lambda: not _lives(worker))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_two_configurations_in_a_row(agent: Agent) -> None:
    assert agent.heard() == Ready()
    main_cf = agent.base / "main.cf"
    for name in ("first", "second"):
        (agent.base / name).mkdir()
        (agent.base / name).chmod(0o1777)
        main_cf.write_text(main_cf.read_text() + f"mail_spool_directory = {agent.base}/{name}\n")
        agent.master.send(Reconfigure(msgspec.msgpack.encode(agent.settings())))

    def delivered_to_the_second() -> bool:
        agent.job(1, ME)
        agent.outcomes(1)
        return (agent.base / "second" / ME).exists()

    # How many of the two are said to be in force depends on which of them is read before the other comes.
    assert agent.heard() == Ready()
    until(delivered_to_the_second)
    until(lambda: len(agent.workers()) == 1)


def test_a_worker_that_dies_idle_is_replaced(agent: Agent) -> None:
    assert agent.heard() == Ready()
    for worker in agent.workers():
        os.kill(worker, signal.SIGKILL)
    until(lambda: not agent.workers())
    agent.job(1, ME)
    assert text(agent.outcomes(1)[0])[0] == "2.0.0"


# Programs


PIPES = """\
sleep unix - n n - - pipe
  user={user} argv=/bin/sh -c {{echo $$$$ >> {base}/pids; sleep 1000 & wait}}
doze unix - n n - - pipe
  user={user} argv=/bin/sh -c {{echo $$$$ >> {base}/pids; exec sleep 1000}}
true unix - n n - - pipe
  user={user} argv=/bin/true
"""


class PipeAgent(Agent):
    """With transports that run programs as somebody else. It does not wait long for its end."""

    def __init__(self, base: Path, **settings: str) -> None:
        (base / "pids").touch()
        (base / "pids").chmod(0o666)
        self.extra = "".join(f"{name} = {value}\n" for name, value in settings.items())
        super().__init__(base)

    def settings(self) -> Settings:
        user = "nobody" if os.geteuid() == 0 else ME
        master = MASTER_CF + PIPES.format(user=user, base=self.base)
        (self.base / "master.cf").write_text(master)
        with (self.base / "main.cf").open("a") as file:
            file.write(self.extra)
        return load(self.base)

    def programs(self) -> list[int]:
        return [int(line) for line in (self.base / "pids").read_text().split()]


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _group_is_gone(leader: int) -> bool:
    """But for those who are dead and that nobody has asked for yet."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == leader and fields[0] != "Z":
                return False
    return True


@pytest.fixture
def pipes(tmp_path: Path) -> Iterator[PipeAgent]:
    agent = PipeAgent(tmp_path, sleep_time_limit="1s")
    yield agent
    agent.end()


def test_a_program(pipes: PipeAgent) -> None:
    pipes.job(1, "x", transport="true")
    assert text(pipes.outcomes(1)[0]) == ("2.0.0", "delivered via true service")


def test_a_program_that_hangs_is_killed_with_its_children(pipes: PipeAgent) -> None:
    pipes.job(1, "x", transport="sleep")
    assert text(pipes.outcomes(1)[0]) == ("5.3.0", 'Command time limit exceeded: "/bin/sh"')
    (leader,) = pipes.programs()
    until(lambda: _group_is_gone(leader))


def test_what_hangs_delays_no_other(tmp_path: Path) -> None:
    agent = PipeAgent(tmp_path)
    try:
        for number in range(30):
            agent.job(number, "same", transport="sleep")
        agent.job(99, ME)
        (outcome,) = agent.outcomes(1)
        assert (outcome.job_id, text(outcome)[0]) == (99, "2.0.0")
        until(lambda: len(agent.programs()) == 30)
    finally:
        workers = agent.workers()
        agent.end()
        for pid in agent.programs():
            os.killpg(pid, signal.SIGKILL)
    until(lambda: all(map(_group_is_gone, workers)))


@pytest.mark.long
def test_two_transports_that_hang_leave_workers_to_others(tmp_path: Path) -> None:
    agent = PipeAgent(tmp_path)
    try:
        for number in range(240):
            agent.job(number, f"a{number}", transport=("sleep", "doze")[number % 2])
        # All workers that may be hired for them hang by then.
        until(lambda: len(agent.programs()) == 200, 120)
        for number in range(3):
            agent.job(900 + number, ME)
        assert {outcome.job_id for outcome in agent.outcomes(3)} == {900, 901, 902}
        assert len(agent.programs()) == 200
    finally:
        agent.end()
        for pid in agent.programs():
            os.killpg(pid, signal.SIGKILL)


def test_mailboxes_that_hang_delay_no_other(tmp_path: Path) -> None:
    agent = PipeAgent(tmp_path, recipient_delimiter="+", deliver_lock_attempts="1000")
    try:
        (tmp_path / "mail" / f"{ME}.lock").touch()
        for number in range(25):
            agent.job(number, f"{ME}+{number}")
        agent.job(99, "nosuch")
        (outcome,) = agent.outcomes(1)
        assert (outcome.job_id, text(outcome)[0]) == (99, "5.1.1")
    finally:
        agent.end()


def test_a_program_never_takes_the_end_of_its_worker_for_the_end_of_the_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its killers' order is what counts: the race itself is won now and then without it."""
    sent: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append(("kill", pid, number)))
    monkeypatch.setattr(os, "killpg", lambda pid, number: sent.append(("killpg", pid, number)))
    leash = Leash()
    leash.runs((1 << 30) + 1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        Killed().add(Hand(1 << 30, ours, 0.0, leash))
    stop, program, *rest = sent
    assert stop == ("kill", 1 << 30, signal.SIGSTOP)
    assert program == ("killpg", (1 << 30) + 1, signal.SIGKILL)
    assert {(pid, number) for _, pid, number in rest} == {(1 << 30, signal.SIGKILL)}


def test_a_worker_that_somebody_kills_leaves_no_program_behind(pipes: PipeAgent) -> None:
    pipes.job(1, "x", transport="sleep")
    until(lambda: bool(pipes.programs()))
    (leader,) = pipes.programs()
    (worker,) = [pid for pid in pipes.workers() if _parent(leader) == pid]
    os.kill(worker, signal.SIGKILL)
    assert text(pipes.outcomes(1)[0]) == ("4.3.0", "local delivery agent died unexpectedly")
    until(lambda: _group_is_gone(leader))


@pytest.mark.slow
def test_a_worker_that_is_killed_takes_its_program_along(pipes: PipeAgent) -> None:
    assert pipes.heard() == Ready()
    pipes.extra = "sleep_time_limit = 1000s\n"
    pipes.master.send(Reconfigure(msgspec.msgpack.encode(pipes.settings())))
    assert pipes.heard() == Ready()
    pipes.job(1, "x", transport="sleep")
    until(lambda: bool(pipes.programs()))
    (leader,) = pipes.programs()
    pipes.master.send(Drain(at_once=True))
    assert pipes.process.wait(20) == 0
    until(lambda: _group_is_gone(leader))
