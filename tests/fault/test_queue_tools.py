"""mailq, postqueue and postsuper under faults: other users, a courier that dies, two at once, a closed pipe."""

import json
import os
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.whole import PROGRAM, Gateway, running, until

pytestmark = [pytest.mark.slow]

COUNT = 3000
AS_NOBODY = """\
import os, sys
import postwarden.cli.postqueue, postwarden.cli.postsuper, postwarden.cli.queue
from postwarden.cli.main import main
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(main())
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """Nobody listens for the mail of dead.example."""
    gateway = Gateway(
        tmp_path,
        transport_maps=f"inline:{{dead.example=smtp:[127.0.0.1]:{free_port()}}}",
        relay_domains="dead.example",
        minimal_backoff_time="1h",
        maximal_backoff_time="1h",
    )
    tmp_path.parent.chmod(0o755)
    with running(gateway):
        yield gateway


def fill(gateway: Gateway, count: int) -> None:
    with smtplib.SMTP("127.0.0.1", gateway.port) as client:
        for n in range(count):
            client.sendmail("joe@example.org", [f"u{n}@dead.example"], "Subject: x\n\nbody\n")
    until(lambda: gateway.log().count("status=deferred") >= count)
    until(lambda: set(queues(gateway)) == {"deferred"} and len(listed(gateway)) == count)


def tool(gateway: Gateway, program: str, *words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [PROGRAM, program, "-c", gateway.etc, *words]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=100)


def listed(gateway: Gateway) -> list[dict[str, str]]:
    done = tool(gateway, "postqueue", "-j")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def queues(gateway: Gateway) -> list[str]:
    return [value["queue_name"] for value in listed(gateway)]


def nobody(gateway: Gateway, program: str, *words: str) -> tuple[int, str, str]:
    command = [sys.executable, "-c", AS_NOBODY, program, "-c", str(gateway.etc), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_ordinary_users(gateway: Gateway) -> None:
    """What real Postfix's commands say to nobody."""
    fill(gateway, 2)
    code, out, err = nobody(gateway, "postqueue", "-p")
    assert (code, err) == (0, "") and out.endswith("in 2 Requests.\n")
    assert nobody(gateway, "postqueue", "-f") == (0, "", "")
    reserved = "postsuper: fatal: use of this command is reserved for the superuser\n"
    for words in (["-d", "ALL"], ["-x"], ["-p"], []):
        assert nobody(gateway, "postsuper", *words) == (1, "", reserved)
    gateway.write_main_cf(authorized_mailq_users="root", authorized_flush_users="!nobody, static:anyone")
    gateway.command("reload")
    refused = "postqueue: fatal: User nobody(65534) is not allowed to {} the mail queue\n"
    until(lambda: nobody(gateway, "postqueue", "-p") == (69, "", refused.format("view")))
    assert nobody(gateway, "postqueue", "-j") == (69, "", refused.format("view"))
    for words in (["-f"], ["-i", "ABCDEF"], ["-s", "dead.example"]):
        assert nobody(gateway, "postqueue", *words) == (69, "", refused.format("flush"))
    assert len(listed(gateway)) == 2
    gateway.stop()
    code, out, err = nobody(gateway, "postqueue", "-p")
    assert (code, out) == (69, "")
    assert err.startswith("postqueue: fatal: Queue report unavailable - mail system is down (Connect to the Postfix")
    assert nobody(gateway, "postsuper", "-d", "ALL") == (1, "", reserved)
    assert len(listed(gateway)) == 2


def test_a_courier_killed_in_the_middle(gateway: Gateway) -> None:
    """What was said to be done is done; what was not said may be; nothing else has happened."""
    fill(gateway, COUNT)
    there = {value["queue_id"] for value in listed(gateway)}
    command = [PROGRAM, "postsuper", "-c", gateway.etc, "-d", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as deleting:
        assert deleting.stdin is not None and deleting.stderr is not None
        half = sorted(there)[: COUNT // 2]
        deleting.stdin.write("".join(f"{queue_id}\n" for queue_id in half[:600]))
        deleting.stdin.flush()
        said = [deleting.stderr.readline()]
        assert gateway.kill("courier")
        deleting.stdin.write("".join(f"{queue_id}\n" for queue_id in half[600:]))
        deleting.stdin.close()
        said += deleting.stderr.readlines()
    removed = {line.split()[1].rstrip(":") for line in said if line.endswith("removed\n")}
    assert removed <= set(half)
    count = next(line for line in said if line.startswith("postsuper: Deleted: "))
    assert count == f"postsuper: Deleted: {len(removed)} messages\n"
    assert deleting.returncode == 1 and said[-1].startswith("postsuper: fatal: queue: ")
    left = {value["queue_id"] for value in listed(gateway)}  # and it waits for the next courier
    assert left & removed == set() and there - set(half) <= left
    assert tool(gateway, "postsuper", "-d", "ALL").stderr == f"postsuper: Deleted: {len(left)} messages\n"


def test_a_pipe_that_is_closed(gateway: Gateway) -> None:
    fill(gateway, COUNT)
    for words in (["postqueue", "-c", gateway.etc, "-p"], ["postqueue", "-c", gateway.etc, "-j"]):
        with subprocess.Popen([PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listing:
            assert listing.stdout is not None and listing.stderr is not None
            assert listing.stdout.readline()
            listing.stdout.close()
            assert listing.stderr.read() == b""
    assert len(listed(gateway)) == COUNT


def test_who_reads_slowly_keeps_nobody_waiting(gateway: Gateway) -> None:
    """Up, the courier goes on; down, the next start does."""
    fill(gateway, COUNT)
    command = [PROGRAM, "postqueue", "-c", gateway.etc, "-p"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as slow:
        assert slow.stdout is not None
        slow.stdout.read(10)
        assert tool(gateway, "postsuper", "-h", "ALL").stderr == f"postsuper: Placed on hold: {COUNT} messages\n"
        slow.stdout.read()
    gateway.stop()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as slow:
        assert slow.stdout is not None
        slow.stdout.read(10)
        gateway.start()
        until(lambda: tool(gateway, "postqueue", "-f").returncode == 0)
        slow.stdout.read()
    assert slow.returncode == 0 and set(queues(gateway)) == {"hold"}


def test_many_at_once_while_it_is_down(gateway: Gateway) -> None:
    """Each waits for the one before: the files have one user at a time."""
    fill(gateway, 20)
    gateway.stop()
    ids = [value["queue_id"] for value in listed(gateway)]
    command = [PROGRAM, "postsuper", "-c", gateway.etc]
    running = [
        subprocess.Popen([*command, "-d", ids[n], "-h", ids[n + 10]], stderr=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    for n, one in enumerate(running):
        said = one.communicate(timeout=60)[1]
        assert said.startswith(f"postsuper: {ids[n]}: removed\npostsuper: {ids[n + 10]}: placed on hold\n"), said
    assert sorted(queues(gateway)) == ["deferred"] * 12 + ["hold"] * 4


def test_mail_that_comes_and_goes_is_listed_once(gateway: Gateway) -> None:
    """While messages move from segments to queue.db and between queues, each is listed, none twice."""
    fill(gateway, 300)
    there = {value["queue_id"] for value in listed(gateway)}
    turning = subprocess.Popen(
        ["sh", "-c", f"while :; do {PROGRAM} postsuper -c {gateway.etc} -h ALL -H ALL 2>/dev/null; done"],
        start_new_session=True,
    )
    try:
        for _ in range(15):
            ids = [value["queue_id"] for value in listed(gateway)]
            assert len(ids) == len(set(ids)) and set(ids) == there
    finally:
        os.killpg(turning.pid, 9)
        turning.wait()
