"""The gateway of somebody who is not root: high ports, directories of his own, his own mailbox."""

import os
import pwd
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.accounts import account, account_name
from tests.passable import passable
from tests.ports import free_port
from tests.whole import MASTER_CF, PROGRAM, Sink, children, until

pytestmark = [pytest.mark.slow, pytest.mark.root]

NAME = account_name("pwuser")
"""Whoever runs the tests as root; the account lives as long as the test."""


def dropped() -> list[str]:
    """Run what follows as NAME. Where the interpreter is below root's home it takes a right to get there: to search
    and read any directory, nothing else of root's."""
    drop = ["setpriv", f"--reuid={NAME}", f"--regid={NAME}", "--clear-groups", "--no-new-privs"]
    twice = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import postwarden'], check=True)"
    if subprocess.run([*drop, sys.executable, "-c", twice], capture_output=True).returncode == 0:
        return drop
    return [*drop, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


class Ordinary:
    """A gateway whose every process, `postwarden start` too, runs as `NAME`."""

    def __init__(self, base: Path, sink_port: int, **settings: str) -> None:
        self.base, self.port = base, free_port()
        self.etc, self.queue, self.log_file = base / "etc", base / "queue", base / "maillog"
        values = {
            "compatibility_level": "3.6",
            "queue_directory": str(self.queue),
            "data_directory": str(base / "data"),
            "maillog_file": str(self.log_file),
            "mail_owner": NAME,
            "myhostname": "mx.example.com",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "mydestination": "mx.example.com",
            "alias_maps": f"texthash:{self.etc}/aliases",
            "mail_spool_directory": f"{base}/mail/",
            "relay_domains": "sink.example",
            "transport_maps": f"inline:{{sink.example=smtp:[127.0.0.1]:{sink_port}}}",
        } | settings
        for name in ("etc", "mail"):
            (base / name).mkdir()
        (self.etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in values.items()))
        (self.etc / "master.cf").write_text(MASTER_CF.format(port=self.port))
        (self.etc / "aliases").write_text(f"me {NAME}\n")
        account = pwd.getpwnam(NAME)
        for path in (base, *base.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid)

    def command(self, *words: str, limit: str = "") -> subprocess.CompletedProcess[str]:
        """`limit` is for prlimit(1)."""
        limited = ["prlimit", limit] if limit else []
        command = [*dropped(), *limited, str(PROGRAM), "-c", str(self.etc), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""


@pytest.fixture
def ordinary(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Ordinary, Sink]]:
    if os.geteuid() != 0:
        pytest.skip("needs root to make a throw-away user")
    # A number of its own: where init reaps late, the dead of one test count against the process limit of the next.
    uid = str(100_000 + os.getpid() % 20_000 * 100 + len(request.node.name))
    passable(tmp_path)
    with account(NAME, "--no-create-home", "--uid", uid):
        sink = Sink()
        (tmp_path / "his").mkdir()
        yield Ordinary(tmp_path / "his", sink.port), sink
        sink.close()


def test_all_works_on_high_ports(ordinary: tuple[Ordinary, Sink]) -> None:
    gateway, sink = ordinary
    assert gateway.command("check").returncode == 0
    started = gateway.command("start")
    assert started.returncode == 0, started.stderr + gateway.log()
    master = int((gateway.queue / "pid" / "master.pid").read_text())
    try:
        uid = pwd.getpwnam(NAME).pw_uid
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in (master, *children(master))} == {uid}
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
            for recipient in ("r@sink.example", f"{NAME}@mx.example.com", "me@mx.example.com"):
                client.sendmail("a@client.example", [recipient], "Subject: x\r\n\r\nbody\r\n")
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                client.sendmail("a@client.example", ["nobody-here@mx.example.com"], "Subject: x\r\n\r\nbody\r\n")
        until(lambda: gateway.log().count(": removed") >= 3, said=gateway.log())
        until(lambda: len(sink.messages) == 1)
        assert len(list((gateway.base / "mail" / NAME / "new").iterdir())) == 2, gateway.log()
        assert gateway.command("reload").returncode == 0
        until(lambda: "reload" in gateway.log())
        with socket.create_connection(("127.0.0.1", gateway.port), 10) as sock:
            assert sock.recv(100).startswith(b"220 mx.example.com")
        assert gateway.command("status").returncode == 0
    finally:
        stopped = gateway.command("stop")
    assert stopped.returncode == 0
    assert gateway.command("status").returncode == 1


def test_a_low_port_is_refused_with_the_reason(ordinary: tuple[Ordinary, Sink]) -> None:
    gateway, _ = ordinary
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) < 1024:
        pytest.skip("ordinary users may bind low ports here")
    (gateway.etc / "master.cf").write_text(MASTER_CF.format(port=27))
    refused = gateway.command("start")
    assert refused.returncode == 1
    assert "port 27" in refused.stderr + gateway.log() and "Permission denied" in refused.stderr + gateway.log()


def test_a_start_that_gets_no_processes_ends(ordinary: tuple[Ordinary, Sink]) -> None:
    """And does not leave the operator waiting."""
    gateway, _ = ordinary
    refused = gateway.command("start", limit="--nproc=3")
    assert refused.returncode == 1, gateway.log()
    assert ": can't be started: " in gateway.log(), refused.stderr
    assert gateway.command("status").returncode == 1
