"""Probes: messages that find out whether an address is good. They take mail's way as far as a server's answer to RCPT,
and are nowhere but in memory: no spool, no report, no second try. Below all mail in the scheduler's order."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import islice, takewhile

from msgspec import Struct
from msgspec.structs import replace

from postwarden.mail.decision import Pending
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.events import Delivered, Failure, Removed
from postwarden.mail.queue import Entry
from postwarden.mail.status import Status
from postwarden.schedule.message import Delivery, Message
from postwarden.schedule.params import CourierParams
from postwarden.schedule.rounds import Rounds
from postwarden.schedule.scheduler import TransportLimits

TOO_MANY = Status("4.3.2", "Too many address verification requests")
NOBODY = Status("4.3.0", "address verification is not available")
SEVERAL = Status("2.0.0", "aliased to multiple recipients")
ENDLESS = Status("4.3.5", "an address that is looked up without end")
_FETCHES = 200
_PROCESSES = 100
"""What a transport without a limit is counted as."""
_PATIENCE = 300.0
"""Seconds until one that has not begun is given up. The address is asked for again when its mail comes again; a burst
of addresses whose servers hang, each at a destination of its own, would keep all others waiting for hours."""
_SWEEP = 10.0
_A_TURN = 500
"""Given up before others have their turn."""
_OURS = "4.3.0"
"""The code of faults of our own: no transport, no answer of a table, a deliverer that died."""


class Probed(Struct, frozen=True):
    status: Status
    address: str
    """What the address became."""
    lasting: bool = True
    """The address was judged; else we are why there is no better answer."""


class Probes:
    def __init__(self, rounds: Rounds, params: CourierParams) -> None:
        self._rounds = rounds
        self.params = params
        self.pending = 0
        """Those that have no outcome yet."""
        self._running: Counter[str] = Counter()
        """Deliveries that have begun, by transport."""
        self._waiting: dict[str, tuple[float, Message]] = {}
        """By queue id, in order: since when those wait that have not begun."""
        self._sweeping = False

    def may(self, limits: TransportLimits) -> bool:
        """A quarter of a transport's deliveries may be probes: those of a dictionary attack on slow servers must not
        be all that it does."""
        return self._running[limits.name] < max(1, (limits.processes or _PROCESSES) // 4)

    @property
    def running(self) -> int:
        """Deliveries that have begun."""
        return self._running.total()

    def begun(self, delivery: Delivery) -> None:
        self._running[delivery.transport] += 1
        self._waiting.pop(delivery.message.entry.envelope.queue_id, None)

    def over(self, delivery: Delivery) -> None:
        """It ended, or who had it in hand did."""
        self._running[delivery.transport] -= 1

    def send(self, address: str, done: Callable[[Probed], None]) -> None:
        """`address` is in standard form."""
        parts = self._rounds.parts
        probing, queue_id, now = parts.probing, parts.ledger.new_queue_id(), parts.clock.now()
        if probing is None:
            done(Probed(NOBODY, address, lasting=False))
            return
        if self.pending >= self.params.address_verify_pending_request_limit:
            recipient = Recipient(address)
            parts.log.emit("error", _outcome(Envelope(queue_id, now, "", (recipient,), 0), recipient, TOO_MANY, now))
            done(Probed(TOO_MANY, address, lasting=False))
            return
        self.pending += 1
        head = probing.head(queue_id, now)
        envelope = Envelope(
            queue_id,
            now,
            probing.sender(now),
            (Recipient(address),),
            len(head),
            smtputf8=not address.isascii(),
            context="local",
            trace="verify",
        )
        self._prepare(envelope, head, done)

    def _prepare(self, given: Envelope, head: bytes, done: Callable[[Probed], None], fetches: int = 0) -> None:
        parts, asked = self._rounds.parts, given.recipients[0].address
        try:
            prepared = parts.clerk(given, head)
            if not isinstance(prepared, Status):
                _check_text(prepared[0])
        except Pending as pending:
            if fetches < _FETCHES:
                parts.fetch(pending.fetch, partial(self._prepare, given, head, done, fetches + 1))
                return
            prepared = ENDLESS
        except Exception as error:  # a bug of ours with one address would keep a place among the pending for ever
            parts.log.emit("cleanup", Failure(f"{given.queue_id}: internal error: {error!r}"))
            prepared = NOBODY
        if isinstance(prepared, Status):
            self._end(Probed(prepared, asked, lasting=False), done)
            return
        envelope, head = prepared
        recipients = envelope.recipients
        if len(recipients) != 1:
            # Each of them may be good or bad; mail to the alias itself is never refused for that.
            parts.log.emit("cleanup", _outcome(envelope, Recipient(asked), SEVERAL, parts.clock.now()))
            self._end(Probed(SEVERAL, asked), done)
            return
        envelope = replace(envelope, size=len(head))
        entry = Entry((0, 0), envelope, (0,), len(head), 0, head=head, body=b"")
        message = Message(entry, parts.clock.now())
        message.probe = partial(self._ended, message, done)
        self._waiting[envelope.queue_id] = parts.clock.monotonic(), message
        self._sweep_later(_SWEEP)
        self._rounds.probe(message)

    def _sweep_later(self, seconds: float) -> None:
        if not self._sweeping:
            self._sweeping = True
            self._rounds.parts.clock.call_later(seconds, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = False
        latest = self._rounds.parts.clock.monotonic() - _PATIENCE
        waiting = takewhile(lambda one: one[0] <= latest, self._waiting.values())
        late = [message for _, message in islice(waiting, _A_TURN)]
        for message in late:
            self._waiting.pop(message.entry.envelope.queue_id, None)
            for delivery in message.deliveries:
                self._rounds.withdraw(delivery, TOO_MANY)
        if self._waiting:
            self._sweep_later(_SWEEP if len(late) < _A_TURN else 0.0)

    def _ended(self, message: Message, done: Callable[[Probed], None]) -> None:
        envelope = message.entry.envelope
        self._waiting.pop(envelope.queue_id, None)
        self._rounds.parts.log.emit("qmgr", Removed(envelope.queue_id))
        status = message.sent[-1][1] if message.sent else NOBODY
        if status.soft:
            status = replace(status, code=f"5{status.code[1:]}")  # soft_bounce is for mail that would be lost
        lasting = (status.code != _OURS or status.relay != "none") and status != TOO_MANY.foretold()
        self._end(Probed(status, envelope.recipients[0].address, lasting), done)

    def _end(self, probed: Probed, done: Callable[[Probed], None]) -> None:
        self.pending -= 1
        done(probed)


def _check_text(envelope: Envelope) -> None:
    """Bytes that are no UTF-8, as a table of a data base may give them: no channel takes them. Raises UnicodeError;
    mail finds the same where it is stored."""
    for text in (envelope.sender, *[recipient.address for recipient in envelope.recipients]):
        text.encode()


def _outcome(envelope: Envelope, recipient: Recipient, status: Status, now: float) -> Delivered:
    delays = (max(now - envelope.arrival, 0.0), 0.0, 0.0, 0.0)
    return Delivered(envelope.queue_id, recipient.address, recipient.original, status.foretold(), delays)
