"""Reloads that come too fast, and a reload under whose configuration nobody comes to life."""

import contextlib
import os
import signal
import smtplib
import socket
import ssl
import time
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.whole import MASTER_CF, Gateway, running, until

from postwarden.testing.certificate import write_certificate

pytestmark = pytest.mark.slow


def greeted(gateway: Gateway) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", gateway.port), 2) as sock:
            return sock.recv(500).startswith(b"220")
    except OSError:
        return False


def test_a_client_in_the_midst_of_its_handshake_is_not_cut_by_a_reload(tmp_path: Path) -> None:
    port = free_port()
    write_certificate(tmp_path / "pem", "mx.example.com")
    entry = f"127.0.0.1:{port} inet n - n - - smtpd\n  -o smtpd_tls_wrappermode=yes\n"
    with running(Gateway(tmp_path, master_cf=MASTER_CF + entry, smtpd_tls_chain_files=f"{tmp_path}/pem")) as gateway:
        old = set(gateway.pids("receiver"))
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            until(lambda: sum(is_open(pid, port) for pid in old) > 0)
            os.kill(gateway.master_pid, signal.SIGHUP)
            until(lambda: set(gateway.pids("receiver")) - old != set() and greeted(gateway))
            until(lambda: len(set(gateway.pids("receiver")) & old) == 1, 60, "the idle one of the old ones goes")
            time.sleep(2.5)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(sock) as tls:
                assert tls.recv(500).startswith(b"220")
                tls.sendall(b"QUIT\r\n")
                assert tls.recv(500).startswith(b"221")
        until(lambda: not set(gateway.pids("receiver")) & old, 60, "the last of the old ones goes")


def is_open(pid: int, port: int) -> bool:
    """Whether the process has an established connection to its port."""
    mine = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            mine.add(os.readlink(link))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[1].partition(":")[2], 16) == port and words[3] == "01" and f"socket:[{words[9]}]" in mine:
            return True
    return False


def test_signals_faster_than_processes_start_do_not_fill_the_machine(tmp_path: Path) -> None:
    with running(Gateway(tmp_path)) as gateway:
        each = len(gateway.pids("receiver"))
        most = 0
        end = time.monotonic() + 4
        while time.monotonic() < end:
            os.kill(gateway.master_pid, signal.SIGHUP)
            time.sleep(0.05)
            most = max(most, len(gateway.pids("receiver")))
        assert most <= 3 * each
        until(lambda: len(gateway.pids("receiver")) == each, 60, "the old ones go")
        assert greeted(gateway)


def test_a_reload_that_is_asked_for_while_another_is_made_is_made_too(tmp_path: Path) -> None:
    with running(Gateway(tmp_path)) as gateway:
        os.kill(gateway.master_pid, signal.SIGHUP)
        until(lambda: gateway.log().count(": reload --") == 1)
        gateway.write_main_cf(smtpd_banner="$myhostname ESMTP newer")
        os.kill(gateway.master_pid, signal.SIGHUP)

        def newer() -> bool:
            with smtplib.SMTP(timeout=10) as client:
                return b"newer" in client.connect("127.0.0.1", gateway.port)[1]

        until(newer)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file that only root may read")
def test_receivers_are_replaced_while_the_next_generation_does_not_come_to_life(tmp_path: Path) -> None:
    with running(Gateway(tmp_path)) as gateway:
        secret = tmp_path / "friends"
        secret.write_text("192.0.2.0/24\n")
        secret.chmod(0o600)
        old = gateway.pids("receiver")
        gateway.write_main_cf(mynetworks=f"127.0.0.0/8, {secret}")
        os.kill(gateway.master_pid, signal.SIGHUP)
        until(lambda: "receiver: bad command startup" in gateway.log(), said=gateway.log())
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        until(lambda: greeted(gateway), 60, "the generation that serves is replaced")
        secret.chmod(0o644)
        os.kill(gateway.master_pid, signal.SIGHUP)
        until(lambda: gateway.log().count(": reload --") == 2)
        until(lambda: greeted(gateway))
