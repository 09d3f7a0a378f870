"""One SMTP session: bytes to the machine, its events to the commands, their replies to the client.

What is known of the client is one frozen value, `facts`, replaced by HELO, STARTTLS and XCLIENT. A transaction is one
object, dropped by `_settle` as soon as the machine's state has none: nothing else ends it, so nothing can forget to.

The session works through what has arrived until it has to wait: for a fact that policy lacks, for the disk, or because
a client that errs is slowed down. Bytes that arrive meanwhile wait in the machine, and beyond `_ENOUGH` in the kernel.
All replies of one round leave in one write.
"""

import traceback
from collections.abc import Callable
from functools import partial

from msgspec import structs

from postwarden.mail.decision import Decision, Pending
from postwarden.mail.events import Disconnected, Failure, LostConnection, Notice, Rejected, printable
from postwarden.mail.reply import Reply
from postwarden.mail.session import SessionFacts, TlsFacts
from postwarden.mail.transcript import Trouble
from postwarden.net.clock import Deadline
from postwarden.net.peername import client_address
from postwarden.net.stream import Stream
from postwarden.receive.attributes import Forwarded
from postwarden.receive.chapters import begin_anew
from postwarden.receive.clients import Standing
from postwarden.receive.commands import apply
from postwarden.receive.commands.refused import notice_early
from postwarden.receive.commands.starttls import log_tls
from postwarden.receive.refusals import hung_up, refused, turned_away
from postwarden.receive.service import Mode, Service
from postwarden.receive.tally import Tally
from postwarden.receive.transaction import Transaction
from postwarden.receive.trouble import cause
from postwarden.receive.verdicts import judged
from postwarden.receive.welcome import welcome
from postwarden.tables.table import TableError
from postwarden.wire.smtp_events import Event
from postwarden.wire.smtp_server import Machine
from postwarden.wire.smtp_states import IN_TRANSACTION, State

_ENOUGH = 128 << 10
_REPLIES = 200
"""Replies that wait for one write. A client that sends commands and never reads gets no further than this and the
buffers of the stream."""
_MAX_FACTS = 200
_TROUBLE = Reply(451, "4.3.0", "Error: internal error; try again later")


class Session:
    __slots__ = (
        "_busy", "_congested", "_deadline", "_ended", "_out", "_over", "_patient", "_paused", "_rounds", "_stuck",
        "counted", "facts", "forwarded", "leaving", "machine", "mode", "opening", "params", "recorded", "service",
        "standing", "stream", "tally", "transaction", "transcript", "where",
    )  # fmt: skip

    stream: Stream
    standing: Standing
    facts: SessionFacts

    def __init__(self, service: Service) -> None:
        self.service = service
        self._adopt(service.mode)
        self.transcript = service.postmaster.transcript()
        self.transaction: Transaction | None = None
        self.where = "CONNECT"
        """What the client did last, for the log."""
        self.opening = ""
        """Of the Received header; empty until the first message after HELO."""
        self.leaving = service.leaving
        """421 at the next command boundary."""
        self._out: list[bytes] = []
        self._deadline = Deadline(service.clock, self._timed_out)
        self._busy = self._over = self._ended = self._paused = self._congested = False
        self.counted = ""
        """The address under which the client's connection is counted; empty where it is not."""
        self.forwarded: Forwarded | None = None
        """What XFORWARD said of the next message."""
        self.recorded: Reply | None = None
        """The refusal that is to be answered, and of which a record was made."""
        self._rounds, self._stuck = 0, 0.0

    def _adopt(self, mode: Mode) -> None:
        self.mode, self.params = mode, mode.params
        self.machine, self.tally = Machine(mode.options), Tally(mode.params)
        if self.service.filters:
            self.machine.rewrite = self._rewritten
        self._patient = not mode.params.smtpd_per_request_deadline

    # net.stream.Handler

    def opened(self, stream: Stream) -> None:
        self.stream = stream
        service = self.service
        if not service.enter(self):
            busy = Reply(421, "4.3.2", f"{service.hostname} Error: all server ports are busy")
            stream.write(turned_away(self, busy).marked().encode())
            stream.close()
            self._over = True
            del self._deadline
            return
        if service.mode is not self.mode:
            self._adopt(service.mode)
        self._deadline.set(self.params.smtpd_timeout)
        self._busy = True
        service.names.verify(client_address(stream.peer[0]), partial(welcome, self))

    def received(self, data: bytes) -> None:
        if self._over:
            return
        self.machine.receive(data)
        if self._busy or self._congested:
            if self.machine.buffered > _ENOUGH and not self._paused:
                self._paused = True
                self.stream.pause()
            return
        self._run()

    def ended(self) -> None:
        self._ended = True
        if not self._busy and not self._over:
            self._lost("lost connection")

    def secured(self, tls: TlsFacts) -> None:
        self.machine.secured()
        self.replace_facts(structs.replace(self.facts, tls=tls, client=structs.replace(self.facts.client, helo="")))
        log_tls(self, tls)
        self.resume()

    def congested(self) -> None:
        self._congested = True
        self.stream.pause()
        self._paused = True

    def drained(self) -> None:
        self._congested = False
        if not self._busy:
            self._run()

    def closed(self, reason: Exception | None) -> None:
        if not self._over:
            if reason is not None and self.machine.state is State.HANDSHAKE:
                self.service.emit(Notice(f"SSL_accept error from {self.facts.client}: {reason}"))
            self._lost("lost connection")
        # Stream and session know each other. Without this each connection would wait for the garbage collector.
        del self.stream

    # for the commands

    def answer(self, reply: Reply, verb: str = "", encoded: bytes = b"") -> None:
        """Send `reply` to the command that is at hand. `verb` names it for the count of the disconnect line; `encoded`
        is the reply as sent, where that is known already."""
        code, machine, transcript = reply.code, self.machine, self.transcript
        if code >= 400:
            self.tally.trouble |= cause(verb, reply)
            if reply is not self.recorded:
                reply = refused(self, reply)
            self.recorded = None
            reply = self.service.worded(reply, self.facts.client)
            code = reply.code
        self._out.append(encoded or reply.encode())
        if transcript is not None:
            transcript.add(machine.line, reply)
            machine.line = b""
        machine.answered(code)
        if verb:
            self.tally.count(verb, accepted=code < 400)
        if self.transaction is not None and machine.state not in IN_TRANSACTION:
            self._settle()
            if self.where == "END-OF-MESSAGE":
                begin_anew(self)

    def say(self, reply: Reply) -> None:
        """Send it, and no more; `answer` is for commands."""
        self._out.append(reply.encode())
        if self.transcript is not None:
            self.transcript.add(self.machine.line, reply)

    @property
    def queue_id(self) -> str:
        """Of the transaction at hand; empty where there is none."""
        return "" if self.transaction is None else self.transaction.queue_id

    @property
    def over(self) -> bool:
        """The session has ended, or has been told to."""
        return self._over

    def refuse(
        self,
        stage: str,
        reply: Reply | str,
        recipient: str | None = None,
        sender: str | None = None,
        *,
        action: str = "reject",
    ) -> None:
        """Log a refusal, or another `action`; the caller answers."""
        transaction, client = self.transaction, self.facts.client
        if transaction is not None:
            sender = transaction.mail.sender
            recipient = transaction.only_recipient if recipient is None else recipient
        self.service.emit(
            Rejected(self.queue_id, stage, client, str(reply), sender, recipient, client.protocol, client.helo, action)
        )

    def allows(
        self, decision: Decision, stage: str, verb: str, recipient: str | None = None, sender: str | None = None
    ) -> bool:
        """Whether policy lets the command pass; if not it is answered here, and logged."""
        reply = self.judged(decision, stage, recipient, sender)
        if reply is None:
            return True
        self.answer(reply, verb)
        self.hang_up_after(reply)
        return False

    def judged(
        self, decision: Decision, stage: str, recipient: str | None = None, sender: str | None = None
    ) -> Reply | None:
        """The reply that policy wants, logged; None: go on."""
        self._rounds = 0
        return judged(self, decision, stage, recipient, sender)

    def offers(self, keyword: str) -> bool:
        """Of EHLO, in lower case."""
        there = keyword != "smtputf8" or self.params.smtputf8_enable
        return there and keyword not in (self.standing.discarded or ())

    def hang_up_after(self, reply: Reply) -> None:
        """421 and 521 end the connection (RFC 5321 3.8, RFC 7504 3)."""
        if reply.code in (421, 521):
            self.end()

    def hang_up(self, code_text: tuple[str, str], what: str = "") -> None:
        """421 with our name, and close."""
        status, text = code_text
        self.say(hung_up(self, Reply(421, status, f"{self.service.hostname} {text}")).marked())
        if what:
            self.service.emit(LostConnection(what, self._stage(), self.facts.client))
        self.end(what)

    def replace_facts(self, facts: SessionFacts) -> None:
        self.facts = facts
        self.opening = ""

    def stand_as_client(self) -> None:
        """`facts` name another client: what is it exempt from?"""
        client = self.facts.client
        self.standing = self.service.clients.standing(client.name, client.address)
        options = self.mode.exempt_options if self.standing.bare_newline else self.mode.options
        if not self.offers("chunking"):
            options = structs.replace(options, absent=options.absent | {"BDAT"})
        self.machine.set_options(options)

    def shorten(self, seconds: int) -> None:
        """What is awaited now must come within `seconds`."""
        self._deadline.set(seconds)

    def warn(self, before: str, after: str) -> None:
        """A warning that has the client in the middle."""
        self.service.warn(f"{before}{self.facts.client}{after}")

    def hold(self) -> None:
        """Read no command until `resume`."""
        self._busy = True

    def resume(self) -> None:
        """What was waited for is there."""
        if not self._over:
            self._busy = False
            self._run()

    def wait(self, pending: Pending, then: Callable[[], None]) -> None:
        """Fetch the fact, then judge again."""
        self._busy = True
        self._rounds += 1
        if self._rounds > _MAX_FACTS:
            self.broken()
            return

        def done(error: Exception | None) -> None:
            if self._over:
                return
            if error is not None:
                self.service.emit(Failure(f"{self.facts.client}: {type(error).__name__}: {error}"))
                self.hang_up(("4.3.0", "Error: internal error"))
                return
            then()

        self.flush()
        self.service.waiting.wait(pending.fetch, done)

    def flush(self) -> None:
        if self._out:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self.stream.write(data)

    def end(self, what: str = "") -> None:
        """Close after what was said. `what`: the client had not finished, and this happened."""
        if not self._over:
            self.flush()
            self.stream.close()
            self._finish(what)

    def broken(self) -> None:
        """A bug, ours or of a stage. The client hears of trouble and nothing else; the log gets all of it."""
        text = printable(traceback.format_exc(limit=-6).replace("\n", " | "))
        self.service.emit(Failure(f"session with {self.stream.peer[0]}: {text}"))
        self.say(refused(self, _TROUBLE).marked())
        self.tally.trouble |= Trouble.SOFTWARE
        self.end()

    def leave(self) -> None:
        """The process is to end: 421 as soon as no command and no content is at hand."""
        self.leaving = True
        if not self._over and not self._busy and not self.machine.receiving:
            self.hang_up(("4.3.2", "Service shutting down"))

    # inside

    def _run(self) -> None:
        machine = self.machine
        while not (self._busy or self._over or self._congested):
            try:
                event = machine.next()
            except Pending as pending:
                self.wait(pending, self.resume)
                break
            except TableError as error:
                self._unfiltered(error)
                break
            if event is None:
                break
            if self.facts.findings.known:
                self.facts.findings.known.clear()
            self._apply(event)
            if self.tally.errors:
                self._mind_errors()
            if len(self._out) > _REPLIES:
                self.flush()
        if self._over:
            return
        heard = self._patient or bool(self._out)
        self.flush()
        if self._busy:
            return
        if self.leaving and not machine.receiving:
            self.leave()
            return
        if self._ended:
            self._lost("lost connection")
            return
        if heard:
            self._deadline.set(self.params.smtpd_timeout)
        elif self.transaction is not None:
            # smtpd_per_request_deadline: content earns time at smtpd_min_data_rate, the pieces of a command none.
            earned = self.transaction.unpaid() / self.params.smtpd_min_data_rate
            self._deadline.extend(earned, self.params.smtpd_timeout)
        if self._paused and not self._congested:
            self._paused = False
            self.stream.resume()

    def _apply(self, event: Event) -> None:
        if self.machine.early is not None:
            notice_early(self)
            if self._over:
                return
        try:
            apply(self, event)
        except Pending as pending:
            self.wait(pending, lambda: self._again(event))
        except Exception:
            self.broken()

    def _rewritten(self, line: bytes) -> bytes:
        """What smtpd_command_filter has in the place of a command. Raises Pending, TableError."""
        text = line.lstrip(b" \t").decode("utf-8", "replace")
        found = self.service.filters.find(text)
        self._rounds = 0
        if found is None:
            return line
        said, instead = line.decode("utf-8", "replace")[:100], found.value[:100]
        self.service.emit(Notice(f'{self.facts.client}: replacing command "{said}" with "{instead}"'))
        return found.value.encode("utf-8", "surrogateescape")

    def _unfiltered(self, error: TableError) -> None:
        """What was said might mean something else: nothing of it is obeyed."""
        self.service.warn(f"{error}: lookup error in smtpd_command_filter")
        self.give_up("Server local data error", Trouble.DATA)

    def give_up(self, text: str, trouble: Trouble) -> None:
        """421 for what is wrong here, logged as smtpd(8) does."""
        heard = f"421 4.3.0 {self.service.hostname} {text}"
        self.service.emit(
            Notice(f"{self.queue_id or 'NOQUEUE'}: reject: {self.where} from {self.facts.client}: {heard}")
        )
        self.tally.trouble |= trouble
        self.hang_up(("4.3.0", text))

    def _again(self, event: Event) -> None:
        self._busy = False
        self._apply(event)
        if self.tally.errors:
            self._mind_errors()
        self._run()

    def _mind_errors(self) -> None:
        """Slow down a client that errs, and end it if it goes on (smtpd_soft_error_limit, smtpd_hard_error_limit)."""
        if self._over or self._busy or not self._out:
            return
        params, errors = self.params, self.tally.errors
        if errors >= params.smtpd_soft_error_limit and params.smtpd_error_sleep_time:
            self._busy = True
            self.service.clock.call_later(params.smtpd_error_sleep_time, self._slept)
        elif errors >= params.smtpd_hard_error_limit:
            self.hang_up(("4.7.0", "Error: too many errors"), "too many errors")

    def _slept(self) -> None:
        if self._over:
            return
        self._busy = False
        self.flush()
        if self.tally.errors >= self.params.smtpd_hard_error_limit:
            self.hang_up(("4.7.0", "Error: too many errors"), "too many errors")
        else:
            self._run()

    def _settle(self) -> None:
        """The one place where a transaction ends."""
        if self.transaction is not None:
            self.service.heads -= self.transaction.kept
            self.transaction.drop()
            self.transaction = None
            self.facts.findings.message_ends()

    def _timed_out(self) -> None:
        if self._over:
            return
        if not self._busy or self.machine.state is State.HANDSHAKE:
            self.hang_up(("4.4.2", "Error: timeout exceeded"), "timeout")
        elif self._deadline.due != self._stuck:
            # It waits for us, and not we for it. Whoever owes us the answer gets as long as Postfix's daemons have.
            self._deadline.set(self.params.ipc_timeout)
            self._stuck = self._deadline.due
        else:
            who = self.facts.client if hasattr(self, "facts") else client_address(self.stream.peer[0])
            self.service.emit(Failure(f"session with {who}: no answer from our own side for {self.where}: given up"))
            self.hang_up(("4.3.0", "Error: internal error"))

    def _lost(self, what: str) -> None:
        if self._over:
            return
        if self.where != "END-OF-MESSAGE" and hasattr(self, "facts"):
            self.service.emit(LostConnection(what, self._stage(), self.facts.client))
        self.stream.close()
        self._finish(what)

    def _stage(self) -> str:
        transaction = self.transaction
        if self.machine.state is State.DATA and transaction is not None and transaction.intake is not None:
            return f"DATA ({transaction.intake.size} bytes)"
        return self.where

    def _finish(self, what: str) -> None:
        self._over = True
        self._deadline.clear()
        del self._deadline
        if self.machine.receiving:
            self.tally.count(self.machine.receiving, accepted=False)
        self.machine.close()
        self._settle()
        service = self.service
        service.leave(self)
        if self.counted and service.counters is not None:
            service.counters.disconnect(service.name, self.counted)
        if hasattr(self, "facts"):
            if self.tally.trouble and self.transcript is not None:
                service.postmaster.tell(self.facts.client, self.transcript, self.tally.trouble, what)
            service.emit(Disconnected(self.facts.client, self.tally.counts()))
