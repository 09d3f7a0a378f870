"""Restrictions that ask DNS, and every action of access tables, beside the real smtpd(8): each reply and each log line.
Both see the same zone."""

import contextlib
import os
import re
import smtplib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import unified_diff
from pathlib import Path

import pytest
from tests.interop.policy_dns_cases import BASE, FILES, SERVER, VARIANTS, ZONE, Talk
from tests.nameserver import NameServer
from tests.ports import free_port
from tests.rewrite_service import _MASTER_PROGRAM, Judges, needs_postfix
from tests.whole import until

from postwarden.testing.reception import Reception

pytestmark = [needs_postfix, pytest.mark.postfix, pytest.mark.slow]

_QUIET = re.compile(
    r"connect from|disconnect from|lost connection|: client=|mapping DSN status|numeric domain name|"
    r"valid_hostname: invalid|check_ccert_access is requested|do not specify lookup tables inside|"
    r"define a restriction class|unknown macro name|resource data|"
    r"for badmx.example: |for dotted.example.: "
)


_REMEMBERED = re.compile("RBL lookup error|TXT lookup error|ignoring DNS RR|unknown DNS filter action")


class Theirs(Judges):
    """The real smtpd, a service for each variant; resolv.conf names the server of the zone."""

    def __init__(self, base: Mapping[str, str]) -> None:
        super().__init__(**base)
        self.ports: dict[str, int] = {}
        self.kept: list[socket.socket] = []
        lines = []
        ports = iter(free_port, 0)
        for number, (name, (_, parameters)) in enumerate(VARIANTS.items()):
            port = self.ports[name] = next(port for port in ports if port not in self.ports.values())
            lines.append(f"127.0.0.1:{port} inet n - n - - smtpd\n -o syslog_name=v{number}\n")
            lines += [f" -o {{ {key} = {value} }}\n" for key, value in parameters.items()]
        for name, text in FILES.items():
            (self.etc / name).write_text(text)
        with (self.etc / "master.cf").open("a") as master:
            master.writelines(lines)

    def __enter__(self) -> "Theirs":
        self._make_queue()
        self._auth()
        conf = self._base / "resolv.conf"
        conf.write_text(f"nameserver {SERVER}\noptions timeout:1 attempts:1\n")
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        words = ["unshare", "--mount", "sh", "-c", script, conf, _MASTER_PROGRAM, "-c", self.etc, "-d"]
        environment = {**os.environ, "MAIL_CONFIG": str(self.etc)}
        self._master = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
        until((self.queue / "private" / "rewrite").exists)
        return self

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._server.shutdown(socket.SHUT_RDWR)
        for sock in self.kept:
            sock.close()

    def _auth(self) -> None:
        """As much of Dovecot's login server as smtpd(8) wants before it says that logins are possible."""
        path = self.queue / "auth"
        server = self._server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        path.chmod(0o666)
        server.listen(50)

        def serve() -> None:
            with server, contextlib.suppress(OSError):
                while True:
                    sock, _ = server.accept()
                    sock.sendall(b"VERSION\t1\t0\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n")
                    self.kept.append(sock)

        threading.Thread(target=serve, daemon=True).start()

    def said(self, name: str) -> list[str]:
        """The log of a variant, once it is over."""
        number = list(VARIANTS).index(name)

        def lines() -> list[str]:
            return re.findall(rf" v{number}/smtpd\[\d+\]: (.*)", self.log())

        until(lambda: said_all(lines()))
        return lines()


@pytest.fixture(scope="module")
def theirs() -> Iterator[Theirs]:
    server = NameServer(ZONE, SERVER)
    with contextlib.closing(server), Theirs(BASE) as running:
        yield running


@pytest.mark.parametrize("name", VARIANTS)
def test_every_reply_and_log_line_is_postfix_own(name: str, theirs: Theirs) -> None:
    talks, parameters = VARIANTS[name]
    expected = list(their_replies(theirs.ports[name], talks))
    said = once(map(plain, theirs.said(name)))
    reception = Reception(zone=ZONE, **(BASE | with_files(parameters, theirs.etc)))
    found = list(our_replies(reception, talks))
    log = [line.removeprefix("smtpd: ") for line in reception.log if line.startswith("smtpd: ")]
    logged = once(map(plain, log))
    wrong = differences(expected, found) + differences(said, logged)
    assert not wrong, wrong


def differences(theirs: list[str], ours: list[str]) -> str:
    lines = unified_diff(theirs, ours, "Postfix", "Postwarden", lineterm="", n=0)
    return "\n".join(["", *lines]) if theirs != ours else ""


def said_all(lines: list[str]) -> bool:
    return "disconnect" in "".join(lines[-1:])


def connected(port: int) -> smtplib.SMTP:
    """The master may not listen yet."""
    found: list[smtplib.SMTP] = []

    def connects() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            found.append(smtplib.SMTP("127.0.0.1", port, timeout=20))
        return bool(found)

    until(connects)
    found[0].ehlo("me")
    return found[0]


def with_files(parameters: dict[str, str], etc: Path) -> dict[str, str]:
    return {name: value.replace("$config_directory", str(etc)) for name, value in parameters.items()}


def plain(line: str) -> str:
    line = re.sub(r"^[0-9A-F]{8,}: ", "ID: ", line)
    # What a client is judged for, at connection time and at XCLIENT, is one and the same.
    return line.replace(": XCLIENT from", ": CONNECT from")


def once(lines: Iterable[str]) -> list[str]:
    """Postfix remembers for as long as a process lives what a list said, and that it can't be asked."""
    kept = [line for line in lines if not _QUIET.search(line)]
    return [x for at, x in enumerate(kept) if not _REMEMBERED.search(x) or x not in kept[:at]]


def commands(talk: Talk) -> Iterator[str]:
    name, address = talk.client
    address = f"IPV6:{address}" if ":" in address else address
    given = "[UNAVAILABLE]" if name == "unknown" else name
    login = f" LOGIN={talk.login}" if talk.login else ""
    yield f"XCLIENT NAME={given} ADDR={address} REVERSE_NAME={given}{login}"
    yield f"EHLO {talk.helo}"
    yield f"MAIL FROM:<{talk.sender}>"
    for who in talk.recipients:
        yield f"RCPT TO:<{who}>"


def their_replies(port: int, talks: tuple[Talk, ...]) -> Iterator[str]:
    smtp = connected(port)

    def say(command: str) -> str:
        code, text = smtp.docmd(command)
        return "ok" if code < 400 else f"{code} {text.decode()}"

    with contextlib.suppress(smtplib.SMTPServerDisconnected):
        for talk in talks:
            if smtp.sock is None:
                smtp = connected(port)
            reply = ""
            for reply in replies(talk, say):
                yield reply
            if "XCLIENT" in reply:
                # Refused; Postfix goes on talking, to refuse whatever comes.
                smtp.close()
            if smtp.sock is not None:
                say("RSET")
    smtp.close()


def our_replies(reception: Reception, talks: tuple[Talk, ...]) -> Iterator[str]:
    peer = reception.connect()
    peer.say("EHLO me")

    def say(command: str) -> str:
        reply = peer.say(command)
        for _ in range(3):
            if not reply:
                reception.clock.advance(1)
                reply = peer.hear()
        last = reply.rstrip("\r\n").rpartition("\r\n")[2]
        return "ok" if last and last[0] in "23" else last

    for talk in talks:
        yield from replies(talk, say)
        say("RSET")
        if peer.session.over:
            peer = reception.connect()
            peer.say("EHLO me")
    peer.say("QUIT")


def replies(talk: Talk, say: Callable[[str], str]) -> Iterator[str]:
    accepted = False
    for command in commands(talk):
        reply = say(command)
        yield f"{talk.client[0]} {talk.helo} {talk.sender}: {command}: {reply}"
        if reply != "ok" and not command.startswith("RCPT"):
            return
        accepted = accepted or (command.startswith("RCPT") and reply == "ok")
    if accepted:
        reply = say("DATA")
        yield f"{talk.client[0]}: DATA: {reply}"
        if reply == "ok":
            say(".")
