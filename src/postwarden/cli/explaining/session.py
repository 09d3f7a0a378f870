"""A session of SMTP that is only played: the listener's own policy and content answer it, and nothing is kept."""

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from postwarden import pipeline
from postwarden.cli.explaining.remembered import Remembered
from postwarden.cli.explaining.servers import Servers
from postwarden.cli.explaining.visitor import Forgetful, Told, Visitor
from postwarden.config.settings import Settings
from postwarden.explain.witness import Look, Witness
from postwarden.mail.decision import Decision, Fact, Pending, Rule
from postwarden.mail.envelope import Envelope
from postwarden.mail.events import Event, Warn
from postwarden.mail.remade import Remade
from postwarden.mail.reply import Reply
from postwarden.mail.session import SessionFacts
from postwarden.net.clock import LoopClock
from postwarden.net.dial import SocketDial
from postwarden.net.names import Names, open_names
from postwarden.net.policy_client import PolicyServers
from postwarden.net.waiting import LoopWaiting
from postwarden.policy.question import Marks, Question, Restriction
from postwarden.receive.counters import Counters
from postwarden.receive.session import Session
from postwarden.tables.opening import Tables
from postwarden.tables.table import TableError

PATIENCE = 60.0
"""Seconds for the answer to one command."""


class Client(Struct, frozen=True):
    """Who is to be played."""

    address: str
    sender: str
    recipients: tuple[str, ...]
    name: str = ""
    """Its verified name; empty: DNS is asked."""
    helo: str = ""
    login: str = ""
    tls: bool = False
    message: bytes | None = None
    """Head and body with CRLF; None: the session ends after RCPT."""


class Asked(Struct, frozen=True):
    """One restriction that was asked."""

    stage: str
    list: str
    """The parameter that names it; empty: what is asked without being named."""
    rule: Rule
    decision: Decision | None
    """None: it had nothing to say."""
    later: Decision | None = None
    """It did not decide, and left this: what mail is put off with that the lists would take, or would refuse."""
    looks: tuple[Look, ...] = ()
    facts: tuple[Fact, ...] = ()
    """What DNS said."""
    fault: str = ""
    """Why it could not decide."""

    @property
    def said(self) -> Decision | None:
        return self.decision or self.later


class Exchange(Struct, frozen=True):
    """A command, its reply, and what was asked for it."""

    command: str
    reply: str
    asked: tuple[Asked, ...] = ()
    by: Decision | None = None
    """What policy refused it with; None: it did not."""
    own: Rule | None = None
    """The setting by which the server refused it without asking policy."""

    @property
    def code(self) -> int:
        return int(self.reply[:3]) if self.reply[:3].isdecimal() else 0


class Played(Struct, frozen=True):
    exchanges: tuple[Exchange, ...]
    client_name: str
    log: tuple[str, ...]
    """The lines that the log would have."""
    envelope: Envelope | None = None
    """As it would be stored; None: it was refused, or there was no message."""
    unasked: tuple[str, ...] = ()
    """Policy servers that would be asked, and were not."""


class _Witness:
    """Notes each restriction. A decision that lacked a fact is made again from the start: the last time counts."""

    def __init__(self, looks: Callable[[], list[Look]], facts: list[Fact]) -> None:
        self._looks = looks
        self._facts = facts
        self._by_marks: dict[int, tuple[Marks, list[Asked]]] = {}
        self._lacking: tuple[list[Fact], int] = ([], 0)

    def watch(self, parameter: str, rule: Rule, compiled: Restriction) -> Restriction:
        fetched: list[Fact] = []

        def restriction(question: Question) -> Decision | None:
            self._looks()
            self._settle()
            marks, before = question.marks, len(self._facts)
            puts_off = (marks.defer_if_permit, marks.defer_if_reject)

            def note(decision: Decision | None = None, fault: str = "") -> None:
                later = _new(puts_off, (marks.defer_if_permit, marks.defer_if_reject))
                facts = (*fetched, *self._facts[before:])
                fetched.clear()
                _, asked = self._by_marks.setdefault(id(marks), (marks, []))
                looks = tuple(self._looks())
                asked.append(Asked(marks.stage, parameter, rule, decision, later, looks, facts, fault))

            try:
                decision = compiled(question)
            except Pending:
                self._by_marks.pop(id(marks), None)
                self._lacking = (fetched, before)
                raise
            except TableError as error:
                note(fault=str(error))
                raise
            note(decision)
            return decision

        return restriction

    def _settle(self) -> None:
        """What DNS has said since a restriction lacked it belongs to that one."""
        fetched, since = self._lacking
        fetched += self._facts[since:]
        self._lacking = ([], len(self._facts))

    def taken(self) -> tuple[Asked, ...]:
        """What was asked since this was called last."""
        taken = tuple(asked for _, all_ in self._by_marks.values() for asked in all_)
        self._by_marks.clear()
        return taken


def _new(before: tuple[Decision | None, ...], after: tuple[Decision | None, ...]) -> Decision | None:
    return next((late for early, late in zip(before, after, strict=True) if late is not early), None)


class _Verdicts:
    """A `receive.ports.Recorder` that keeps the last refusal."""

    def __init__(self) -> None:
        self.refusal: Decision | None = None
        self.own: Rule | None = None

    def session(self) -> str:
        return "explained"

    def reference(self) -> str:
        return ""

    def judged(
        self,
        session: tuple[str, str],
        stage: str,
        facts: SessionFacts,
        decision: Decision,
        reply: Reply | None,
        *,
        recipient: str = "",
        recipients: tuple[str, ...] = (),
        policy: bool = True,
    ) -> None:
        if reply is not None and policy:
            self.refusal = decision
        elif reply is not None:
            self.own = decision.rule

    def stored(self, envelope: Envelope, *, session: str = "", remade: tuple[Remade, ...] = ()) -> None:
        """Nothing is."""


class _Heard:
    """A log that is kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def emit(self, program: str, event: Event, name: str = "") -> None:
        self.lines.append(f"{name or 'postfix'}/{program}: {event}")

    def warn(self, text: str) -> None:
        self.emit("smtpd", Warn(text))


async def play(
    settings: Settings, key: str, local: tuple[str, int], client: Client, *, offline: bool, ask_policy: bool = False
) -> Played:
    """With the smtpd service `key`, which listens at `local`. `offline`: nobody on the network is asked.
    Raises ConfigError."""
    return await _Play(settings, key, client, offline=offline, ask_policy=ask_policy).run(local)


class _Play:
    def __init__(self, settings: Settings, key: str, client: Client, *, offline: bool, ask_policy: bool) -> None:
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop)
        self._client = client
        self._log = _Heard()
        self._facts: list[Fact] = []
        self._looked = Witness()
        self._witness = _Witness(self._looked.taken, self._facts)
        self._store = Forgetful(loop.call_soon)
        self._names = None if offline else open_names(
            loop, clock, tuple(settings.text("postwarden_dns_servers").split())
        )  # fmt: skip
        dns, native = (self._names.dns, self._names.native) if self._names is not None else (None, None)
        told = Names(
            Told(dns, self._facts, client.address, client.name), Told(native, self._facts, client.address, client.name)
        )
        remembered = Remembered(settings, self._facts)
        dial = SocketDial(loop)
        self._asked = PolicyServers(dial, told.native, clock, self._log.warn) if ask_policy else None
        self._servers = Servers(self._asked, self._facts)
        around = pipeline.Surroundings(
            clock,
            self._log,
            told,
            dial,
            open_tables=self._open,
            watch=self._witness.watch,
            verifier=remembered,
            services=self._servers,
        )
        built = pipeline.receiver(
            settings, around, self._store, keys=(key,), waiting=LoopWaiting(loop), counters=Counters.create(), files={}
        )
        self._verdicts = built.services[key].recorder = _Verdicts()
        self._session = Session(built.services[key])

    def _open(self, settings: Settings, *rest: object) -> Tables:
        return Tables.of(settings, wrapper=self._looked)

    async def run(self, local: tuple[str, int]) -> Played:
        client = self._client
        visitor = Visitor(self._session, (client.address, 40000), local, tls=client.tls)
        exchanges = [await self._exchange(visitor, "(connect)", visitor.connect)]
        name = self._session.facts.client.name
        for command in self._commands():
            if visitor.gone or (exchanges[-1].code >= 400 and command.startswith("DATA")):
                break
            exchanges.append(await self._exchange(visitor, command, lambda: visitor.say(f"{command}\r\n".encode())))  # noqa: B023
            if command.startswith("EHLO") and client.login:
                self._log_in(client.login)
        if client.message is not None and exchanges[-1].code == 354:
            data = client.message.replace(b"\r\n.", b"\r\n..") + b".\r\n"
            exchanges.append(await self._exchange(visitor, "(message)", lambda: visitor.say(data)))
        visitor.leave()
        if self._asked is not None:
            self._asked.close()
        if self._names is not None:
            self._names.close()
        stored = self._store.envelopes
        unasked = tuple(self._servers.unasked)
        return Played(tuple(exchanges), name, tuple(self._log.lines), stored[0] if stored else None, unasked)

    def _commands(self) -> Sequence[str]:
        client = self._client
        helo = client.helo or client.name or f"[{'IPv6:' if ':' in client.address else ''}{client.address}]"
        commands = [f"EHLO {helo}", f"MAIL FROM:<{client.sender}>"]
        commands += [f"RCPT TO:<{recipient}>" for recipient in client.recipients]
        return [*commands, "DATA"] if client.message is not None else commands

    def _log_in(self, login: str) -> None:
        facts = self._session.facts
        self._session.replace_facts(replace(facts, client=replace(facts.client, login=login)))

    async def _exchange(self, visitor: Visitor, command: str, act: Callable[[], None]) -> Exchange:
        self._verdicts.refusal = self._verdicts.own = None
        act()
        async with asyncio.timeout(PATIENCE):
            while not (complete(visitor.heard) or visitor.gone):
                await visitor.spoke.wait()
                visitor.spoke.clear()
        heard, visitor.heard = visitor.heard, b""
        reply = heard.decode("utf-8", "replace").replace("\r\n", "\n").strip()
        return Exchange(command, reply, self._witness.taken(), self._verdicts.refusal, self._verdicts.own)


def complete(heard: bytes) -> bool:
    """The last line of a reply is there (RFC 5321 4.2.1)."""
    lines = heard.split(b"\r\n")
    return heard.endswith(b"\r\n") and lines[-2][3:4] != b"-"
