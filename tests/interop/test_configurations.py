"""Configurations in the manner of those that many people run: each loads, is shown as Postfix shows it, and starts.

`tests/configurations/NAME` holds main.cf, master.cf and tables. What this version lacks must be safe there: a filter
that can't be asked, a data base that is down and a login that is not offered put mail off or refuse it; none opens a
door.
"""

import contextlib
import io
import json
import re
import shutil
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest
from msgspec import Struct
from tests.ports import free_port
from tests.realpostfix import needs_postfix
from tests.tableservers import TableServer, socketmap
from tests.talk import Session
from tests.whole import OWNER, Gateway, Sink, running, until

from postwarden.cli import postconf
from postwarden.testing.certificate import write_certificate

HERE = Path(__file__).parent.parent / "configurations"
POSTCONF = "/usr/sbin/postconf"
NAMES = sorted(path.name for path in HERE.iterdir())

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]


class Made(Struct):
    """A configuration with its places filled in."""

    base: Path
    etc: Path
    ports: dict[str, int]


def make(name: str, base: Path) -> Made:
    etc = base / "etc"
    shutil.copytree(HERE / name, etc)
    ports = {word: free_port() for word in ("smtp", "submission", "reinject", "policy", "sink")}
    places = {"@base@": str(base), "@interfaces@": "127.0.0.1"} | {f"@{word}@": str(p) for word, p in ports.items()}
    for path in (path for path in etc.rglob("*") if path.is_file()):
        text = path.read_text()
        for word, value in places.items():
            text = text.replace(word, value)
        path.write_text(text)
    for directory in (base, etc, *etc.rglob("*")):
        directory.chmod(0o755 if directory.is_dir() else 0o644)
    return Made(base, etc, ports)


def by_postfix(made: Made, words: list[str]) -> tuple[int, str, list[str]]:
    done = subprocess.run([POSTCONF, "-c", made.etc, *words], capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout, sorted(set(done.stderr.replace(POSTCONF, "postconf").splitlines()))


def by_us(made: Made, words: list[str]) -> tuple[int, str, list[str]]:
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = postconf.main("postconf", ["-c", str(made.etc), *words])
        out.flush()
    assert isinstance(out.buffer, io.BytesIO)
    return code, out.buffer.getvalue().decode(), sorted(set(err.getvalue().splitlines()))


def without_process(text: str) -> str:
    """Red Hat's debugger_command shows $process_id."""
    return re.sub(r"postconf \d+ &", "postconf 1 &", text)


@pytest.mark.parametrize("name", NAMES)
def test_postconf_shows_it_as_postfix_shows_it(name: str, tmp_path: Path) -> None:
    made = make(name, tmp_path)
    for words in (["-n"], ["-nf"], ["-nx"], ["-M"], ["-Mf"], ["-P"], ["-F"], ["-nH"]):
        ours, real = by_us(made, words), by_postfix(made, words)
        assert (ours[0], without_process(ours[1]), ours[2]) == (real[0], without_process(real[1]), real[2]), words


class Case(Struct):
    """One conversation: `service` names the port, `reply` is what is heard at the first refusal, or at the end."""

    name: str
    service: str
    recipient: str
    reply: str
    sender: str = "stranger@far.example"


CASES = (
    Case("debian", "smtp", "people@example.org", "250 2.0.0 Ok: queued"),
    Case("debian", "smtp", "nobody-there@example.org", "550 5.1.1 "),
    Case("debian", "smtp", "x@elsewhere.example", "454 4.7.1 "),
    Case("redhat", "smtp", "bin@localhost", "250 2.0.0 Ok: queued"),
    Case("dockermailserver", "smtp", "info@dms.example", "250 2.0.0 Ok: queued"),
    Case("dockermailserver", "smtp", "no@dms.example", "550 5.1.1 "),
    Case("dockermailserver", "smtp", "x@elsewhere.example", "554 5.7.1 "),
    Case("dockermailserver", "submission", "x@elsewhere.example", "530 5.7.0 "),
    Case("dockermailserver", "reinject", "joe@dms.example", "250 2.0.0 Ok: queued"),
    Case("mailcow", "smtp", "joe@cow.example", "250 2.0.0 Ok: queued"),
    Case("mailcow", "smtp", "alias@cow.example", "250 2.0.0 Ok: queued"),
    Case("mailcow", "smtp", "strict@cow.example", "550 5.7.1 Session encryption is required"),
    Case("mailcow", "smtp", "no@cow.example", "550 5.1.1 "),
    Case("mailcow", "submission", "x@elsewhere.example", "530 5.7.0 "),
    Case("mailu", "smtp", "joe@mailu.example", "451 4.7.1 Service unavailable - try again later"),
    Case("mailu", "reinject", "joe@mailu.example", "250 2.0.0 Ok: queued"),
    Case("iredmail", "smtp", "joe@ired.example", "451 4.3.0 "),
    Case("iredmail", "reinject", "joe@ired.example", "451 4.3.0 "),
    Case("modoboa", "smtp", "joe@modo.example", "451 4.3.0 Error: queue file write error"),
    Case("modoboa", "submission", "joe@modo.example", "530 5.7.0 "),
)
IN_THE_SINK = {"dockermailserver": 2, "mailcow": 2, "mailu": 1}
MISSED = {"mailu": ["smtpd_milters"], "modoboa": ["smtpd_proxy_filter"]}
"""What check calls errors, since no mail comes in without them."""
OFTEN = ("mailcow", "mailu")
"""Those that `make test` starts; the others are started by `make test-all`."""


def gateway_of(made: Made) -> Gateway:
    """The configuration, with its files, its user and its ports."""
    (made.base / "run").mkdir()
    gateway = Gateway(made.base / "run")
    gateway.settings = {name: gateway.settings[name] for name in ("queue_directory", "data_directory", "maillog_file")}
    gateway.settings |= {"mail_owner": OWNER, "smtpd_peername_lookup": "no"}
    main, master = (made.etc / name for name in ("main.cf", "master.cf"))
    more = "".join(f"{name} = {value}\n" for name, value in gateway.settings.items())
    main.write_text(main.read_text() + more)
    text = master.read_text()
    for service in ("smtp", "submission"):
        text = re.sub(rf"^{service}(\s+inet)", rf"127.0.0.1:{made.ports[service]}\1", text, flags=re.M)
    master.write_text(text)
    gateway.etc = made.etc
    return gateway


def data_base(made: Made) -> None:
    base = sqlite3.connect(made.base / "mail.sqlite")
    base.executescript("""
        create table domain(domain, backupmx); create table mailbox(username, maildir, active, tls);
        create table alias(address, goto); create table transport(destination, nexthop);
        create table relayhost(name, password); create table tls_policy(dest, policy);
        insert into domain values('cow.example', 0);
        insert into mailbox values('joe@cow.example', 'cow.example/joe/', 1, 0);
        insert into mailbox values('strict@cow.example', 'cow.example/strict/', 1, 1);
        insert into alias values('alias@cow.example', 'joe@cow.example');
    """)
    base.close()


def podop(question: bytes) -> bytes:
    known = {b"domain mailu.example": b"1", b"mailbox joe@mailu.example": b"joe@mailu.example"}
    return b"OK " + known[question] if question in known else b"NOTFOUND "


def conversation(port: int, case: Case) -> str:
    session = Session(port)
    try:
        for line in ("EHLO client.far.example", f"MAIL FROM:<{case.sender}>", f"RCPT TO:<{case.recipient}>", "DATA"):
            heard = session.say(line)
            if heard[0] not in "23":
                return heard
        return session.say("Subject: test\r\n\r\ntext\r\n.")
    finally:
        session.close()


def offers(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        stream = sock.makefile("rwb")
        banner = stream.readline()
        stream.write(b"EHLO client.far.example\r\n")
        stream.flush()
        lines = [banner]
        while (line := stream.readline())[3:4] == b"-":
            lines.append(line)
        return b"".join([*lines, line]).decode()


@pytest.mark.parametrize("name", [n if n in OFTEN else pytest.param(n, marks=pytest.mark.long) for n in NAMES])
def test_it_starts_and_takes_what_it_may(name: str, tmp_path: Path) -> None:
    made = make(name, tmp_path)
    data_base(made)
    (tmp_path / "tls").mkdir(mode=0o755)
    for file in ("cert.pem", "key.pem", "both.pem"):
        write_certificate(tmp_path / "tls" / file, "mail.example")
    shutil.copy(tmp_path / "tls" / "cert.pem", tmp_path / "tls" / "key.pem")
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail").chmod(0o1777)
    sink = Sink(port=made.ports["sink"])
    with TableServer(socketmap(podop), tmp_path / "podop.socket"), running(gateway_of(made)) as gateway:
        for case in CASES:
            if case.name == name:
                heard = conversation(made.ports[case.service], case)
                assert heard.startswith(case.reply), (case, heard, gateway.log()[-1500:])
        found = [json.loads(line) for line in gateway.command("check", "-n", "-j", check=False).stdout.splitlines()]
        errors = [finding["what"].split()[0].rstrip(":") for finding in found if finding["severity"] == "error"]
        assert errors == MISSED.get(name, []), found
        assert " AUTH" not in offers(made.ports["smtp"])
        assert offers(made.ports["smtp"]).startswith("220 ")
        until(lambda: len(sink.messages) == IN_THE_SINK.get(name, 0), 20, gateway.log())
        if name in ("debian", "redhat"):
            until(lambda: (tmp_path / "mail" / "daemon").exists(), 20, gateway.log())
    sink.close()
