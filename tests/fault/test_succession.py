"""One generation after another: nothing of the old one is left, and two never work on one queue."""

import os
import pwd
import resource
import signal
import smtplib
import socket
import threading
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.whole import MASTER_CF, OWNER, Gateway, Sink, running, until

pytestmark = pytest.mark.slow


def test_a_start_right_after_the_master_was_killed_delivers_nothing_twice(tmp_path: Path) -> None:
    """The courier of before is still busy with its last delivery when the next one begins."""
    held, go_on = threading.Event(), threading.Event()

    def linger(line: str) -> None:
        if line == ".":
            held.set()
            go_on.wait(60)

    sink = Sink(refuse=linger)
    with running(Gateway(tmp_path, sink.port)) as gateway:
        try:
            with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
                client.sendmail("a@sender.example", ["r@sink.example"], "Subject: x\r\n\r\nbody\r\n")
            assert held.wait(60)
            os.kill(gateway.master_pid, signal.SIGKILL)
            starter = threading.Thread(target=gateway.start)
            starter.start()
            threading.Event().wait(2)
            go_on.set()
            starter.join(60)
            log = gateway.log()
            assert log.count("status=sent") == 1 and log.count(": removed") == 1
            with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
                client.sendmail("a@sender.example", ["second@sink.example"], "Subject: x\r\n\r\nbody\r\n")
            until(lambda: gateway.log().count(": removed") == 2)
            assert [to for _, to, _ in sink.messages] == [["r@sink.example"], ["second@sink.example"]]
        finally:
            go_on.set()
    sink.close()


def test_reloads_leave_no_descriptor_in_the_master_and_a_removed_port_is_closed(tmp_path: Path) -> None:
    other = free_port()
    more = MASTER_CF + f"127.0.0.1:{other} inet n - n - - smtpd\n"
    with running(Gateway(tmp_path, master_cf=more)) as gateway:
        with socket.create_connection(("127.0.0.1", other), 10) as sock:
            assert sock.recv(500).startswith(b"220")
        reload(gateway)
        before = descriptors(gateway.master_pid)
        for _ in range(3):
            reload(gateway)
        until(lambda: descriptors(gateway.master_pid) <= before, 60, "the master's descriptors grow")
        (gateway.etc / "master.cf").write_text(MASTER_CF.format(port=gateway.port))
        reload(gateway)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", other), 5).close()


@pytest.mark.parametrize("command", ["start", "start-fg"])
def test_a_start_that_can_not_succeed_ends_and_says_why(tmp_path: Path, command: str) -> None:
    gateway = Gateway(tmp_path)
    database = gateway.queue / "postwarden" / "queue.db"
    database.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(database, pwd.getpwnam(OWNER).pw_uid, -1)
    refused = gateway.command(command, check=False)
    assert refused.returncode == 1
    assert "the queue can't be opened" in gateway.log()
    assert gateway.command("status", check=False).returncode == 1


def test_a_reload_does_not_part_receivers_from_the_queue(tmp_path: Path) -> None:
    sink = Sink()
    with running(Gateway(tmp_path, sink.port)) as gateway:
        (tmp_path / "elsewhere").mkdir(mode=0o777)
        (tmp_path / "elsewhere").chmod(0o777)
        gateway.write_main_cf(queue_directory=str(tmp_path / "elsewhere"))
        os.kill(gateway.master_pid, signal.SIGHUP)
        until(lambda: "queue_directory can't be changed by a reload" in gateway.log())
        gateway.write_main_cf(queue_directory=str(gateway.queue))
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
            client.sendmail("a@sender.example", ["r@sink.example"], "Subject: x\r\n\r\nbody\r\n")
        until(lambda: bool(sink.messages))
    sink.close()


def test_a_reload_opens_the_log_anew(tmp_path: Path) -> None:
    sink = Sink()
    with running(Gateway(tmp_path, sink.port)) as gateway:
        gateway.log_file.rename(tmp_path / "maillog.1")
        reload(gateway)
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
            for to in ("r@sink.example", "mail@mx.example.com"):
                client.sendmail("a@sender.example", [to], "Subject: x\r\n\r\nbody\r\n")
            for program in ("smtpd", "cleanup", "qmgr", "smtp", "local", "master"):
                until(lambda line=f"postfix/{program}[": line in gateway.log(), said=gateway.log())
    sink.close()


def reload(gateway: Gateway) -> None:
    before = {*gateway.pids("receiver"), *gateway.pids("carrier")}
    os.kill(gateway.master_pid, signal.SIGHUP)
    until(lambda: not before & {*gateway.pids("receiver"), *gateway.pids("carrier")}, 60, "the old ones go")


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_a_master_without_descriptors_goes_on_and_recovers(tmp_path: Path) -> None:
    with running(Gateway(tmp_path)) as gateway:
        before = set(gateway.pids("receiver"))
        limits = resource.prlimit(gateway.master_pid, resource.RLIMIT_NOFILE)
        used = {int(name) for name in os.listdir(f"/proc/{gateway.master_pid}/fd")}
        room = [number for number in range(len(used) + 10) if number not in used][:8]
        resource.prlimit(gateway.master_pid, resource.RLIMIT_NOFILE, (room[-1] + 1, limits[1]))
        os.kill(gateway.master_pid, signal.SIGHUP)
        until(lambda: "Too many open files" in gateway.log())
        with socket.create_connection(("127.0.0.1", gateway.port), 10) as sock:
            assert sock.recv(500).startswith(b"220")
        gateway.kill("agent")
        resource.prlimit(gateway.master_pid, resource.RLIMIT_NOFILE, limits)
        refused = 0

        def renewed() -> bool:
            nonlocal refused
            if gateway.log().count("the running configuration stays") > refused:
                refused += 1
                os.kill(gateway.master_pid, signal.SIGHUP)
            return not before & set(gateway.pids("receiver"))

        until(renewed, 60, "the old receivers go")
        until(lambda: len(gateway.pids("agent")) >= 1)
        until(lambda: len(gateway.pids("receiver")) == len(before))
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
            client.sendmail("a@sender.example", ["root@mx.example.com"], "Subject: x\r\n\r\nbody\r\n")
        until(lambda: ": removed" in gateway.log(), said=gateway.log())
