"""check_policy_service beside the real smtpd(8): the same requests in order, the same replies and log lines."""

import asyncio
import contextlib
import re
import smtplib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

import pytest
from tests.ports import free_port
from tests.rewrite_service import Judges, needs_postfix
from tests.whole import until

from postwarden import pipeline
from postwarden.net.clock import LoopClock
from postwarden.net.dial import SocketDial
from postwarden.net.log import MailLog, MemorySink
from postwarden.net.names import Names
from postwarden.net.stream import SocketStream
from postwarden.net.waiting import LoopWaiting
from postwarden.receive.counters import Counters
from postwarden.receive.session import Session
from postwarden.testing.config import settings
from postwarden.testing.reception import MASTER_CF, without_process
from postwarden.testing.resolver import FakeResolver
from postwarden.testing.spool import MemoryStore

pytestmark = [needs_postfix, pytest.mark.postfix, pytest.mark.slow]

BASE = {
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "mynetworks": "192.0.2.0/24",
    "local_recipient_maps": "",
    "smtpd_relay_restrictions": "reject_unauth_destination",
    "smtpd_error_sleep_time": "0",
    "smtpd_peername_lookup": "no",
    "smtpd_authorized_xclient_hosts": "127.0.0.1",
    "smtpd_policy_service_timeout": "2s",
    "fast_flush_domains": "",
}
EVERYWHERE = (
    "smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions",
    "smtpd_recipient_restrictions", "smtpd_data_restrictions", "smtpd_end_of_data_restrictions",
    "smtpd_etrn_restrictions",
)  # fmt: skip
Answer = Callable[[dict[str, str]], bytes | None]


class Server:
    """Keeps what it is asked; `answer` gives bytes, or None: hang up."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.answer: Answer = lambda asked: b"action=DUNNO\n\n"
        self._open: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.hang_up()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def hang_up(self) -> None:
        """On whoever is connected."""
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._socket.accept()
                self._open.append(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError), sock.makefile("rb") as file:
            while True:
                asked = {}
                while line := file.readline().decode().rstrip("\n"):
                    name, _, value = line.partition("=")
                    asked[name] = value
                if not asked:
                    return
                self.asked.append(asked)
                reply = self.answer(asked)
                if reply is None:
                    return
                sock.sendall(reply)

    def taken(self) -> list[dict[str, str]]:
        """What was asked since, without what differs from one time to the next."""
        asked, self.asked = self.asked, []
        instances: dict[str, str] = {}
        for request in asked:
            request["instance"] = instances.setdefault(request["instance"], str(len(instances)))
            # The client that XCLIENT names is judged as one that connects.
            request["protocol_state"] = request["protocol_state"].replace("XCLIENT", "CONNECT")
            request["queue_id"] = "ID" if request["queue_id"] else ""
            for name in ("client_port", "server_port"):
                assert request[name].isdigit()
                request[name] = ""
        return asked


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with contextlib.closing(Server()) as running:
        yield running


def variants(port: int) -> Mapping[str, dict[str, str]]:
    ask = f"check_policy_service inet:127.0.0.1:{port}"
    own = f"check_policy_service {{ inet:127.0.0.1:{port}, policy_context=sub default_action=DUNNO, try_limit=1 }}"
    return {
        "everywhere": dict.fromkeys(EVERYWHERE, ask),
        "at once": dict.fromkeys(EVERYWHERE, ask) | {"smtpd_delay_reject": "no"},
        "recipients": {"smtpd_recipient_restrictions": f"{ask}, permit"},
        "own settings": {"smtpd_recipient_restrictions": f"{own}, {ask}"},
        "nobody there": {"smtpd_recipient_restrictions": "check_policy_service inet:127.0.0.1:1"},
        "no socket": {"smtpd_recipient_restrictions": "check_policy_service unix:/nonexistent/policy"},
    }


class Theirs(Judges):
    def __init__(self, port: int) -> None:
        super().__init__(**BASE)
        self.ports: dict[str, int] = {}
        with (self.etc / "master.cf").open("a") as master:
            for number, (name, parameters) in enumerate(variants(port).items()):
                self.ports[name] = free_port()
                master.write(f"127.0.0.1:{self.ports[name]} inet n - n - 1 smtpd\n -o syslog_name=v{number}\n")
                master.writelines(f" -o {{ {key} = {value} }}\n" for key, value in parameters.items())

    def said(self, number: int, since: int) -> list[str]:
        def lines() -> list[str]:
            return re.findall(rf" v{number}/smtpd\[\d+\]: (.*)", self.log())[since:]

        until(lambda: "disconnect" in "".join(lines()[-1:]))
        return lines()


@pytest.fixture(scope="module")
def theirs(server: Server) -> Iterator[Theirs]:
    with Theirs(server.port) as running:
        yield running


PLAIN = (
    "EHLO far.example",
    "MAIL FROM:<s@far.example> SIZE=77",
    "RCPT TO:<a@mx.example.com>",
    "DATA",
    "x: y\r\n\r\nz\r\n.",
)
TALKS: Mapping[str, tuple[str, ...]] = {
    "message": (*PLAIN, *PLAIN[1:]),
    "one": PLAIN[:3],
    "two recipients": (*PLAIN[:3], "RCPT TO:<b@mx.example.com>", *PLAIN[3:]),
    "as somebody else": (
        "EHLO me", "XCLIENT NAME=mail.far.example ADDR=198.51.100.7 REVERSE_NAME=other.far.example",
        "HELO far.example", "MAIL FROM:<>", *PLAIN[2:],
    ),
    "other commands": ("HELO far.example", "VRFY a@mx.example.com", "ETRN far.example", "RSET", *PLAIN[1:3], "RSET"),
    "odd": ("EHLO far=example", 'MAIL FROM:<"a b"@far.example>', 'RCPT TO:<"x\\"y"@mx.example.com>', "RSET"),
}  # fmt: skip
ANSWERS: Mapping[str, Answer] = {
    "dunno": lambda asked: b"action=DUNNO\n\n",
    "reject": lambda asked: b"action=REJECT go away\n\n" if asked["protocol_state"] == "RCPT" else b"action=dunno\n\n",
    "greylisted": lambda asked: b"action=DEFER_IF_PERMIT 4.2.0 Greylisted, see http://x.example/\n\n",
    "prepended": lambda asked: b"action=PREPEND X-Policy: yes\n\n",
    "more attributes": lambda asked: b"x=y\naction=WARN here\nz=\n\n",
    "held": lambda asked: b"action=HOLD look\n\n",
    "empty": lambda asked: b"action=\n\n",
    "nonsense": lambda asked: b"hello\n\n",
    "hangs up": lambda asked: None,
    "lists": lambda asked: b"action=permit_mynetworks, reject_non_fqdn_recipient\n\n",
    "table": lambda asked: b"action=check_client_access hash:/etc/passwd\n\n",
    "no such word": lambda asked: b"action=whatever\n\n",
}
CASES = [
    *((variant, talk, "dunno") for variant in ("everywhere", "at once") for talk in TALKS),
    # After a failure Postfix keeps the connection that failed, and the next request fails on it.
    *(("recipients", "two recipients", answer) for answer in ANSWERS if answer not in ("hangs up", "nonsense")),
    ("recipients", "one", "nonsense"),
    ("own settings", "message", "dunno"),
    ("own settings", "one", "hangs up"),
    ("recipients", "one", "hangs up"),
    *((variant, "one", "dunno") for variant in ("nobody there", "no socket")),
]
_QUIET = re.compile(
    r"connect from|lost connection|: client=|do not specify lookup tables|define a restriction class|"
    r"missing attribute action|: (Application error|connection lost|.*at the end|unexpected.*)$"
)


@pytest.mark.parametrize(("variant", "talk", "answer"), CASES)
def test_policy_servers_are_asked_as_postfix_asks_them(
    variant: str, talk: str, answer: str, server: Server, theirs: Theirs
) -> None:
    parameters = variants(server.port)[variant]
    number = list(variants(server.port)).index(variant)
    server.answer = ANSWERS[answer]
    server.asked.clear()
    since = len(re.findall(rf" v{number}/smtpd\[\d+\]: ", theirs.log()))
    expected = dialogue(theirs.ports[variant], TALKS[talk])
    said = [line for line in theirs.said(number, since) if not _QUIET.search(line)]
    asked = server.taken()
    found, logged = asyncio.run(ours(BASE | parameters, TALKS[talk], server))
    assert found == expected
    wrong = differences(asked, server.taken())
    assert not wrong, wrong
    assert [plain(x) for x in logged if not _QUIET.search(x)] == [plain(x) for x in said]


def differences(theirs: list[dict[str, str]], ours: list[dict[str, str]]) -> list[str]:
    wrong = []
    for at, (expected, found) in enumerate(zip_longest(theirs, ours, fillvalue={})):
        if expected != found:
            names = [name for name in expected | found if expected.get(name) != found.get(name)]
            wrong.append(f"{at}: {[(name, expected.get(name), found.get(name)) for name in names]}")
    return wrong


def plain(line: str) -> str:
    return re.sub(r"^[0-9A-F]{8,}: ", "ID: ", line)


def dialogue(port: int, talk: tuple[str, ...]) -> list[str]:
    found: list[smtplib.SMTP] = []

    def connects() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            found.append(smtplib.SMTP("127.0.0.1", port, timeout=60))
        return bool(found)

    until(connects)
    smtp = found[0]
    said = []
    for command in talk:
        if command.endswith("\r\n."):
            if not said[-1].startswith("354"):
                continue
            smtp.send(f"{command}\r\n".encode())
            code, text = smtp.getreply()
        else:
            code, text = smtp.docmd(command)
        last = text.decode().rpartition("\n")[2]
        said.append("250" if code == 250 else f"{code} {last}")
    smtp.close()
    return said


async def ours(parameters: dict[str, str], talk: tuple[str, ...], server: Server) -> tuple[list[str], list[str]]:
    """What a receiver says over real sockets, and what it logs."""
    loop = asyncio.get_running_loop()
    clock, sink = LoopClock(loop), MemorySink()
    resolver = FakeResolver()
    around = pipeline.Surroundings(clock, MailLog(sink, "postfix"), Names(resolver, resolver), SocketDial(loop))
    nobody: Any = Counters(Counters.create().fileno(), 0)
    service = pipeline.receiver(
        settings("", MASTER_CF, **parameters), around, MemoryStore(clock.call_soon), keys=("smtp/inet",),
        waiting=LoopWaiting(loop), counters=nobody, files={},
    ).services["smtp/inet"]  # fmt: skip
    listener = await loop.create_server(lambda: SocketStream(Session(service), loop), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    said = await asyncio.to_thread(dialogue, port, talk)
    server.hang_up()
    await asyncio.sleep(0.05)
    listener.close()
    lines = [without_process(line) for line in sink.lines]
    return said, [line.removeprefix("smtpd: ") for line in lines if line.startswith("smtpd: ")]
