"""Refusals on a gateway that runs: each is found afterwards, by its reference and by whoever may ask."""

import contextlib
import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.whole import PROGRAM, Gateway, running, until

from postwarden.trace.files import read
from postwarden.trace.records import Judged

pytestmark = pytest.mark.slow

REF = re.compile(r"\[ref ([2-9A-HJKMNP-Z]{3}-[2-9A-HJKMNP-Z]{3}-[2-9A-HJKMNP-Z]{3})\]")
HELLO = "EHLO client.example\r\nMAIL FROM:<joe@x.example>\r\n"
TO = "RCPT TO:<ann@sink.example>\r\n"
MESSAGE = HELLO + TO + "DATA\r\n"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with tempfile.TemporaryDirectory(prefix="refusals-") as base:  # pytest's own are closed to other users
        gateway = Gateway(
            Path(base), 9, postwarden_refusal_reference="yes", message_size_limit="2000",
            smtpd_forbid_bare_newline="reject", smtpd_forbid_bare_newline_exclusions="", hopcount_limit="3",
            smtpd_recipient_restrictions="check_recipient_access inline:{no@sink.example=REJECT}, permit_mynetworks",
            smtpd_hard_error_limit="3", smtpd_client_event_limit_exceptions="", smtpd_recipient_limit="2",
        )  # fmt: skip
        with running(gateway):
            yield gateway


def talk(gateway: Gateway, *parts: str) -> str:
    """What the server says to the parts, each sent after a reply to the one before; until it hangs up, or QUIT."""
    heard = b""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as sock:
        for part in parts:
            sock.sendall(part.encode())
            heard += sock.recv(1 << 16)
        with contextlib.suppress(ConnectionError):  # it has hung up already
            sock.sendall(b"QUIT\r\n")
            while data := sock.recv(1 << 16):
                heard += data
    return heard.decode()


def explain(gateway: Gateway, *words: str, user: bool = False) -> subprocess.CompletedProcess[str]:
    other: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/"} if user else {}
    command = [PROGRAM, "-c", gateway.etc, "explain", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **other)


def refused(gateway: Gateway) -> list[Judged]:
    store = str(gateway.queue / "postwarden" / "trace")
    return [record for record in read(store) if isinstance(record, Judged) and record.reply]


def found(gateway: Gateway, reference: str) -> Judged:
    """The record with that reference, which is there soon."""
    until(lambda: any(one.reference == reference for one in refused(gateway)))
    (record,) = [one for one in refused(gateway) if one.reference == reference]
    return record


@pytest.mark.parametrize(
    ("parts", "reply", "decides"),
    [
        (["", HELLO, "RCPT TO:<no@sink.example>\r\n"], "554 5.7.1 <no@sink.example>", "check_recipient_access"),
        (["", HELLO + TO + TO + TO], "452 4.5.3 Error: too many recipients", "smtpd_recipient_limit"),
        (["", "EHLO x\r\n", "MAIL FROM:<joe@x.example> SIZE=3000\r\n"], "552 5.3.4", "message_size_limit"),
        (["", MESSAGE, "x" * 100 + "\r\n" + ("y" * 900 + "\r\n") * 3 + ".\r\n"], "552 5.3.4", "message_size_limit"),
        (["", MESSAGE, "Received: x\r\n" * 5 + "\r\n.\r\n"], "554 5.4.0", "hopcount_limit"),
        (["", MESSAGE, "a\nb\r\n.\r\n"], "550 5.5.2", "smtpd_forbid_bare_newline"),
        (["", "GARBAGE\r\n"], "500 5.5.2", "the rules of SMTP"),
    ],
)  # fmt: skip
def test_what_the_client_reads_out_is_found(gateway: Gateway, parts: list[str], reply: str, decides: str) -> None:
    heard = talk(gateway, *parts)
    line = next(line for line in heard.splitlines() if line.startswith(reply))
    match = REF.search(line)
    assert match is not None and line.endswith("]"), heard
    record = found(gateway, match[1])
    assert (record.because.name, record.reply) == (decides, line)
    assert record.facts.client.address == "127.0.0.1"


def test_the_log_line_has_it(gateway: Gateway) -> None:
    match = REF.search(talk(gateway, "", HELLO, "RCPT TO:<no@sink.example>\r\n"))
    assert match is not None
    until(lambda: f"Access denied [ref {match[1]}]; from=<joe@x.example> to=<no@sink.example>" in gateway.log())


def test_who_errs_too_often_is_told_so_and_found(gateway: Gateway) -> None:
    heard = talk(gateway, "", "BAD\r\n", "BAD\r\n", "BAD\r\n")
    last = heard.splitlines()[-1]
    assert last.startswith("421 4.7.0 mx.example.com Error: too many errors [ref ")
    match = REF.search(last)
    assert match is not None
    assert found(gateway, match[1]).because.name == "smtpd_hard_error_limit"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_an_ordinary_user_is_told_as_well(gateway: Gateway) -> None:
    match = REF.search(talk(gateway, "", HELLO, "RCPT TO:<no@sink.example>\r\n"))
    assert match is not None
    found(gateway, match[1])
    typed = match[1].lower().replace("-", "")
    for words in ([match[1]], [typed], ["--refused", "--to", "no@sink.example"]):
        mine = explain(gateway, *words, user=True)
        assert (mine.returncode, mine.stderr) == (0, "")
        assert match[0] in mine.stdout
    assert explain(gateway, typed, user=True).stdout == explain(gateway, typed).stdout
    nothing = explain(gateway, "222-222-222", user=True)
    assert (nothing.returncode, nothing.stdout) == (1, "")
