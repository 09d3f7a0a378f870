"""Debian's postgrey behind the gateway: mail of a stranger is put off once, and then comes in."""

import contextlib
import os
import pwd
import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.whole import Gateway, Sink, running, until

PROGRAM = shutil.which("postgrey")
pytestmark = [
    pytest.mark.long,
    pytest.mark.root,
    pytest.mark.skipif(PROGRAM is None or os.geteuid() != 0, reason="needs root and Debian's postgrey"),
]


@contextlib.contextmanager
def postgrey(directory: Path) -> Iterator[int]:
    port = free_port()
    account = pwd.getpwnam("postgrey")
    directory.mkdir()
    os.chown(directory, account.pw_uid, account.pw_gid)
    assert PROGRAM is not None
    words = [PROGRAM, f"--inet=127.0.0.1:{port}", f"--dbdir={directory}", "--delay=1", f"--pidfile={directory}/pid"]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        server.terminate()
        server.wait(10)


def test_greylisting(tmp_path: Path) -> None:
    sink = Sink()
    with contextlib.closing(sink), postgrey(tmp_path / "grey") as port:
        gateway = Gateway(
            tmp_path,
            sink.port,
            mynetworks="192.0.2.0/24",
            smtpd_peername_lookup="no",
            smtpd_authorized_xclient_hosts="127.0.0.1",
            smtpd_recipient_restrictions=f"check_policy_service inet:127.0.0.1:{port}",
        )
        with running(gateway):
            until(lambda: "Greylisted" in send(gateway.port))
            until(lambda: send(gateway.port) == "sent")
            until(lambda: bool(sink.messages))
            assert b"\nX-Greylist: " in b"\n" + sink.messages[0][2]


def send(port: int) -> str:
    with contextlib.closing(smtplib.SMTP("127.0.0.1", port, timeout=30)) as smtp:
        smtp.ehlo("me")
        smtp.docmd("XCLIENT ADDR=198.51.100.9 NAME=mail.far.example")
        smtp.ehlo("mail.far.example")
        try:
            smtp.sendmail("a@far.example", "b@sink.example", "Subject: x\r\n\r\ny\r\n")
        except smtplib.SMTPRecipientsRefused as refused:
            return str(refused.recipients)
        return "sent"
