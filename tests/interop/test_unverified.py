"""reject_unverified_sender and reject_unverified_recipient beside the real smtpd(8). Both ask somebody who knows the
same addresses: in place of verify(8) a server of the test's own answers the real one."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import pytest
from msgspec.structs import replace
from tests.ports import free_port
from tests.rewrite_service import DEFAULTS, Judges, needs_postfix

from postwarden.addressing.resolve import open_resolver
from postwarden.mail.decision import Decision, settle
from postwarden.mail.envelope import Client
from postwarden.mail.probe_sender import ProbeSender
from postwarden.mail.session import Findings, SessionFacts
from postwarden.mail.verified import BOUNCE, DEFER, FAIL, IN_PROGRESS, OK, Verified
from postwarden.policy.judge import Judge
from postwarden.policy.outside import NOBODY
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings

pytestmark = [needs_postfix, pytest.mark.postfix, pytest.mark.slow]

KNOWN: Mapping[str, Verified] = {
    "ok": Verified(OK, "250 2.1.5 Ok"),
    "defer": Verified(DEFER, "connect to mx.far.example[192.0.2.9]:25: Connection refused"),
    "bounce": Verified(BOUNCE, "host mx.far.example[192.0.2.9] said: 550 5.7.0 no such user (in reply to RCPT TO)"),
    "todo": IN_PROGRESS,
    "fail": Verified(FAIL),
    "long": Verified(DEFER, "x" * 400),
    "utf8": Verified(BOUNCE, "h\u00e9 \u20ac"),
    "empty": Verified(BOUNCE),
}
FIGURES = {OK: 0, DEFER: 1, BOUNCE: 2, "todo": 3}
BASE = {
    "local_recipient_maps": "",
    "mynetworks": "127.0.0.0/8",
    "address_verify_poll_count": "1",
    "smtpd_error_sleep_time": "0",
    "smtpd_hard_error_limit": "100000",
    "smtpd_soft_error_limit": "100000",
    "smtpd_junk_command_limit": "100000",
    "smtpd_peername_lookup": "no",
    "in_flow_delay": "0",
    "smtpd_recipient_restrictions": "permit",
}
TO = "smtpd_recipient_restrictions"
FROM = "smtpd_sender_restrictions"
ASKED = {TO: "reject_unverified_recipient"}
PERIOD = 10**6
PROBER = ProbeSender("double-bounce@mx.example.com", PERIOD)
"""Its next change is days away, or the test would ask the clock twice."""
VARIANTS: Mapping[str, Mapping[str, str]] = {
    "recipient": ASKED,
    "recipient for good": ASKED | {"unverified_recipient_reject_code": "550"},
    "recipient, a reason": ASKED | {
        "unverified_recipient_reject_code": "550", "unverified_recipient_reject_reason": "{x} not known",
    },
    "recipient, codes that let in": ASKED | {"unverified_recipient_defer_code": "250"},
    "recipient, refused for good let in": ASKED | {"unverified_recipient_reject_code": "299"},
    "recipient, a code that is none": ASKED | {"unverified_recipient_reject_code": "354"},
    "recipient, 5xx and 4xx of one's own": ASKED | {
        "unverified_recipient_reject_code": "553", "unverified_recipient_defer_code": "451",
    },
    "the rest refuses": {TO: "reject_unverified_recipient, reject", "unverified_recipient_reject_code": "550"},
    "the rest refuses too late": {
        TO: "reject_unverified_recipient, reject", "unverified_recipient_tempfail_action": "defer",
    },
    "reject_tempfail_action": {TO: "reject_unverified_recipient, reject", "reject_tempfail_action": "defer"},
    "warn_if_reject": {TO: "warn_if_reject reject_unverified_recipient, permit"},
    "a table": {TO: "check_recipient_access inline:{far.example=reject_unverified_recipient}"},
    "a class": {
        "smtpd_restriction_classes": "checked", "checked": "reject_unverified_recipient, reject_unverified_sender",
        TO: "checked", "unverified_sender_reject_code": "550",
    },
    "a list for clients": {"smtpd_client_restrictions": "reject_unverified_recipient, permit"},
    "sender": {FROM: "reject_unverified_sender"},
    "sender for good": {FROM: "reject_unverified_sender", "unverified_sender_reject_code": "550"},
    "sender at MAIL": {
        FROM: "reject_unverified_sender", "unverified_sender_reject_code": "550", "smtpd_delay_reject": "no",
        "unverified_sender_reject_reason": "no",
    },
    "sender, all words": {
        FROM: "reject_unverified_sender, reject", "unverified_sender_reject_code": "551",
        "unverified_sender_defer_code": "452", "unverified_sender_tempfail_action": "defer",
    },
    "recipient at MAIL": {FROM: "reject_unverified_recipient", "smtpd_delay_reject": "no"},
    "soft_bounce": ASKED | {"unverified_recipient_reject_code": "550", "soft_bounce": "yes"},
    "the sender of probes": {TO: "reject"},
    "another sender of probes": {TO: "reject", "address_verify_sender": "ok@far.example"},
    "a sender of probes of this machine": {TO: "reject", "address_verify_sender": "prober"},
    "no sender of probes": {TO: "reject", "address_verify_sender": "<>"},
    "a sender of probes that changes": {TO: "reject", "address_verify_sender_ttl": str(PERIOD)},
}  # fmt: skip
REFUSES_NOBODY = ("warn_if_reject", "recipient at MAIL")
SPECIAL = (
    "postmaster", "PostMaster", "postmaster@mx.example.com", "double-bounce@mx.example.com",
    "Double-Bounce@MX.example.com", "double-bounce", "double-bounce@far.example", "prober", "prober@mx.example.com",
    PROBER.at(time.time()), PROBER.at(time.time() - PERIOD), PROBER.at(time.time() - 3 * PERIOD),
)  # fmt: skip
TALKS = (
    *(("", f"{name}@far.example") for name in KNOWN),
    *((f"{name}@far.example", "ok@far.example") for name in KNOWN),
    ("bounce@far.example", "bounce@far.example"),
    ("defer@far.example", "bounce@far.example"),
    *(("", address) for address in SPECIAL),
    ("postmaster", "ok@far.example"),
)


def known(address: str) -> Verified:
    return KNOWN.get(address.partition("@")[0].lower(), KNOWN["ok"])


class KnowsAll:
    def ask(self, address: str, seconds: float, done: Callable[[Verified], None]) -> None:
        done(known(address))


def _attributes(stream: BinaryIO) -> dict[str, str]:
    """Of one request; empty: the client is gone."""
    words: list[str] = []
    word = bytearray()
    while (char := stream.read(1)) not in (b"", b"\0") or (char == b"\0" and word):
        if char == b"\0":
            words.append(word.decode())
            word.clear()
        else:
            word += char
    return dict(zip(words[::2], words[1::2], strict=True))


def _serve(peer: socket.socket) -> None:
    with contextlib.suppress(OSError), peer, peer.makefile("rb") as stream:
        peer.sendall(b"protocol\0address_verification_prrotocol\0\0")  # so it is spelled
        while request := _attributes(stream):
            verified = known(request["address"])
            figure = FIGURES.get(verified.status)
            status = -1 if figure is None else 0
            answer = f"status\0{status}\0recipient_status\0{figure or 0}\0reason\0{verified.text}\0\0"
            peer.sendall(answer.encode())


def _accept(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            peer, _ = listener.accept()
            threading.Thread(target=_serve, args=(peer,), daemon=True).start()


def master_lines(ports: Mapping[str, int]) -> str:
    lines = ""
    for name, parameters in VARIANTS.items():
        lines += f"127.0.0.1:{ports[name]} inet n - n - - smtpd\n"
        lines += "".join(f"    -o {{ {key} = {value} }}\n" for key, value in parameters.items())
    return lines


@pytest.fixture(scope="module")
def real() -> Iterator[Mapping[str, int]]:
    """The port of each variant."""
    ports = {name: free_port() for name in VARIANTS}
    judges = Judges(**BASE)
    with (judges.etc / "master.cf").open("a") as master:
        master.write(master_lines(ports))
    with judges, socket.socket(socket.AF_UNIX) as listener:
        path = judges.queue / "private" / "verify"
        listener.bind(str(path))
        Path(path).chmod(0o666)
        listener.listen(100)
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        yield ports


def said_by_real(port: int) -> list[str]:
    answers = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as peer, peer.makefile("rwb") as stream:

        def say(line: str) -> str:
            stream.write(f"{line}\r\n".encode())
            stream.flush()
            return str(stream.readline().decode().rstrip())

        assert stream.readline().startswith(b"220")
        say("HELO there.example")
        for sender, recipient in TALKS:
            answer = say(f"MAIL FROM:<{sender}>")
            if answer.startswith("250"):
                answer = say(f"RCPT TO:<{recipient}>")
            answers.append("ok" if answer.startswith("250") else answer)
            say("RSET")
    return answers


def said_by_us(name: str) -> list[str]:
    chosen = settings(**DEFAULTS | BASE | VARIANTS[name])
    tables = Tables.of(chosen)
    outside = replace(NOBODY, verifier=KnowsAll(), now=time.time)
    judge = Judge(chosen, "", tables, open_resolver(chosen, tables), outside)
    client = Client("unknown", "127.0.0.1", 4000, "unknown", "there.example", "SMTP")
    return [asyncio.run(_talk(judge, client, *talk)) for talk in TALKS]


async def _talk(judge: Judge, client: Client, sender: str, recipient: str) -> str:
    facts = SessionFacts(client, findings=Findings())

    async def ask(decide: Callable[[], Decision]) -> Decision:
        facts.findings.known.clear()
        return await settle(decide)

    decision = await ask(lambda: judge.mail(facts, sender))
    if decision.reply is None:
        decision = await ask(lambda: judge.recipient(replace(facts, sender=sender), recipient))
    return "ok" if decision.reply is None else str(decision.reply).rstrip()


@pytest.mark.parametrize("name", VARIANTS)
def test_every_reply_is_the_same(real: Mapping[str, int], name: str) -> None:
    theirs, ours = said_by_real(real[name]), said_by_us(name)
    assert set(theirs) == {"ok"} if name in REFUSES_NOBODY else len(set(theirs)) > 1
    different = [(talk, a, b) for talk, a, b in zip(TALKS, theirs, ours, strict=True) if a != b]
    assert not different
