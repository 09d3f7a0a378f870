"""start, reload, stop, and what happens when something goes wrong in between."""

import os
import signal
import smtplib
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from tests.load import Arrivals, Load
from tests.whole import PROGRAM, Gateway, Sink, children, running, until

pytestmark = pytest.mark.slow


class Callers:
    """Threads that keep connecting, each session longer than a moment; what went wrong is in `troubles`."""

    def __init__(self, port: int, number: int = 4) -> None:
        self.port = port
        self.troubles: list[str] = []
        self.sessions = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _call(self) -> None:
        while not self._over.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as client:
                    for _ in range(5):
                        code, text = client.noop()
                        if code != 250:
                            self.troubles.append(f"{code} {text!r}")
                        self._over.wait(0.05)
                self.sessions += 1
            except (OSError, smtplib.SMTPException) as error:
                self.troubles.append(repr(error))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("reloads", [12, pytest.param(50, marks=pytest.mark.long)])
def test_reloads_refuse_nobody_and_cut_nobody(tmp_path: Path, reloads: int) -> None:
    with running(Gateway(tmp_path)) as gateway:
        callers = Callers(gateway.port)
        try:
            for _ in range(reloads):
                before, sessions = set(gateway.pids("receiver")), callers.sessions
                os.kill(gateway.master_pid, signal.SIGHUP)
                until(lambda old=before: not old & set(gateway.pids("receiver")), 60, "the old receivers go")
                until(lambda before=sessions: callers.sessions > before)
        finally:
            callers.stop()
        assert callers.troubles == []
        assert gateway.log().count(": reload --") == reloads


def test_a_reload_brings_new_settings_and_keeps_the_old_ones_when_they_are_wrong(tmp_path: Path) -> None:
    with running(Gateway(tmp_path)) as gateway:
        gateway.write_main_cf(smtpd_banner="$myhostname new banner")
        assert gateway.command("reload").returncode == 0
        # The old receivers accept until the new ones do, and the kernel chooses.
        until(lambda: all(b"new banner" in banner(gateway.port) for _ in range(20)))
        gateway.write_main_cf(smtpd_recipient_restrictions="permit_mynetworx, reject")
        refused = gateway.command("reload", check=False)
        assert refused.returncode == 1
        assert "main.cf:" in refused.stderr and "permit_mynetworx" in refused.stderr
        os.kill(gateway.master_pid, signal.SIGHUP)
        until(lambda: "the running configuration stays" in gateway.log())
        assert b"new banner" in banner(gateway.port)


def banner(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        return sock.recv(500)


def test_bad_configuration_refuses_the_start_and_names_the_line(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, smtpd_recipient_restrictions="permit_everybody")
    refused = gateway.command("start", check=False)
    assert refused.returncode == 1
    assert "main.cf:" in refused.stderr and "permit_everybody" in refused.stderr
    assert gateway.command("check", check=False).returncode == 1
    assert gateway.command("status", check=False).returncode == 1


def test_second_start_stop_and_status_answer_as_postfix(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    for command in ("stop", "reload", "abort", "status"):
        refused = gateway.command(command, check=False)
        assert refused.returncode == 1, command
    assert "the Postfix mail system is not running" in gateway.log()
    with running(gateway):
        second = gateway.command("start", check=False)
        assert second.returncode == 1
        assert "the Postfix mail system is already running" in second.stderr
        assert gateway.command("status").returncode == 0
        assert f"PID: {gateway.master_pid}" in gateway.log()
        gateway.stop()
        assert gateway.command("status", check=False).returncode == 1


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    with socket.create_server(("127.0.0.1", gateway.port)):
        refused = gateway.command("start", check=False)
    assert refused.returncode == 1
    assert f"bind 127.0.0.1 port {gateway.port}" in refused.stderr
    assert f"bind 127.0.0.1 port {gateway.port}" in gateway.log()


def test_stop_finishes_deliveries_in_progress(tmp_path: Path) -> None:
    slow = threading.Event()

    def linger(line: str) -> None:
        if line == ".":
            slow.set()
            time.sleep(1.5)

    sink = Sink(refuse=linger)
    with running(Gateway(tmp_path, sink.port)) as gateway:
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
            client.sendmail("a@sender.example", ["r@sink.example"], "Subject: x\r\n\r\nbody\r\n")
        assert slow.wait(60)
        gateway.stop()
        assert len(sink.messages) == 1
        assert "status=sent" in gateway.log() and "removed" in gateway.log()
    sink.close()


def test_what_is_not_delivered_at_stop_is_delivered_after_start(tmp_path: Path) -> None:
    sink = Sink()
    gateway = Gateway(tmp_path, sink.port)
    with running(gateway):
        load = Load(gateway.port, pause=0)
        load.start()
        until(lambda: len(load.accepted) > 20)
        gateway.stop()
        load.stop()
    arrivals = Arrivals(sink)
    with running(gateway):
        until(lambda: not arrivals.missing(load), 60)
    assert load.accepted
    assert arrivals.doubles == 0
    sink.close()


def test_a_role_that_dies_comes_back_and_the_children_end_with_the_master(tmp_path: Path) -> None:
    with running(Gateway(tmp_path)) as gateway:
        for role in ("receiver", "courier", "carrier", "agent"):
            before = gateway.pids(role)
            killed = gateway.kill(role)
            assert killed
            until(lambda line=f"process {role} pid {killed} killed by signal 9": line in gateway.log())
            until(lambda role=role, before=before: len(gateway.pids(role)) == len(before))
        left = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children(gateway.master_pid)}

        def gone() -> bool:
            for pid in [pid for pid in left if not _alive(pid)]:
                del left[pid]
            return not left

        os.kill(gateway.master_pid, signal.SIGKILL)
        until(gone, said=left)


def _alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_start_tells_the_service_manager(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        path.chmod(0o777)
        manager.settimeout(20)
        process = subprocess.Popen(
            [PROGRAM, "-c", gateway.etc, "start-fg"], env={**os.environ, "NOTIFY_SOCKET": str(path)}
        )
        try:
            assert b"READY=1" in manager.recv(1000)
            process.send_signal(signal.SIGHUP)
            assert b"RELOADING=1" in manager.recv(1000)
            assert b"READY=1" in manager.recv(1000)
            process.send_signal(signal.SIGTERM)
            assert b"STOPPING=1" in manager.recv(1000)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()


def test_roles_are_not_root(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with running(Gateway(tmp_path)) as gateway:
        for role in ("receiver", "courier", "carrier"):
            for pid in gateway.pids(role):
                assert Path(f"/proc/{pid}").stat().st_uid != 0, role
                status = Path(f"/proc/{pid}/status").read_text()
                assert "\nGroups:\t \n" in status or "\nGroups:\t\n" in status, "no supplementary groups"


def test_a_transport_that_master_cf_does_not_have_is_said(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, 2525, "127.0.0.1:{port} inet n - n - - smtpd\nsmtp unix - - n - - smtp\n")
    checked = gateway.command("check")
    assert "local_transport: master.cf has no service local" in checked.stdout
    assert "relay_transport: master.cf has no service relay" in checked.stdout
    assert "default_transport" not in checked.stdout


def test_a_missing_mail_owner_is_said_with_the_cure(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    gateway = Gateway(tmp_path, mail_owner="nobody-has-this-name")
    for command in ("check", "start"):
        refused = gateway.command(command, check=False)
        assert refused.returncode == 1
        said = refused.stdout + refused.stderr
        assert "there is no such user" in said and "useradd" in said
