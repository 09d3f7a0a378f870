"""Whom the stages tell what they decided. They never wait for it, and it never raises."""

import os
from collections.abc import Callable

from postwarden.mail.decision import Decision
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.remade import Remade
from postwarden.mail.reply import Reply
from postwarden.mail.session import SessionFacts
from postwarden.mail.status import Status
from postwarden.net.clock import Clock
from postwarden.trace import reference
from postwarden.trace.answers import answers
from postwarden.trace.files import Writer
from postwarden.trace.records import Attempted, Because, Ended, Facts, Judged, Mapped, Operated, Record, Stored

_LAG = 0.25
"""Seconds for which records gather: one write then has those of many messages."""
_MOST = 2000
"""Records that are written at once, however soon."""


class Recorder:
    def __init__(self, path: str, name: str, clock: Clock, warn: Callable[[str], None]) -> None:
        """`path`: the store's directory. `name`: of this process, as for `files.Writer`."""
        self._clock = clock
        self._writer = Writer(path, name, clock.now, warn)
        self._sessions = 0
        # A process id would come back: in a container with each start.
        self._prefix = os.urandom(4).hex()
        self._count = 0
        self._due = False

    def session(self) -> str:
        """A name that no other session has."""
        self._sessions += 1
        return f"{self._prefix}.{self._sessions:x}"

    def reference(self) -> str:
        """What the text of a refusal tells the client to name."""
        return reference.new()

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
        """What policy said, or the server by itself. `session`: its name, and the service's."""
        effects = tuple([f"{effect.action} {effect.argument}".strip() for effect in decision.effects])
        self._add(
            Judged(
                self._clock.now(), session[0], session[1], stage, Facts.of(facts), recipient, facts.queue_id,
                decision.verdict.value, "" if reply is None else str(reply), Because.of(decision.rule),
                decision.facts, effects, "" if reply is None else reply.reference,
                answers(facts.findings.known) if facts.findings.known else (), recipients, policy,
            )
        )  # fmt: skip

    def stored(
        self, envelope: Envelope, *, session: str = "", parent: str = "", remade: tuple[Remade, ...] = ()
    ) -> None:
        """A message is durable. `parent`: queue id of what it is a report about, or a forward of. `remade`: what
        content made of its addresses."""
        if remade:
            self.remade(envelope.queue_id, remade)
        recipients = tuple([(one.address, one.original) for one in envelope.recipients])
        known = envelope.client
        if known is not None:
            client = f"{known.name}[{known.address}]"
        else:
            client = f"local uid {envelope.user}" if envelope.user else ""
        self._add(
            Stored(
                self._clock.now(), envelope.queue_id, session, envelope.sender, envelope.message_id, envelope.size,
                recipients, client, parent,
            )
        )  # fmt: skip

    def remade(self, queue_id: str, steps: tuple[Remade, ...]) -> None:
        """What settings and tables made of the message's addresses."""
        now = self._clock.now()
        for one in steps:
            because = Because.of(one.rule)
            self._add(Mapped(now, queue_id, one.parameter, one.before, one.after, because, one.place))

    def attempted(self, queue_id: str, recipient: Recipient, status: Status, way: tuple[str, str] = ("", "")) -> None:
        """What became of one recipient by `way`: transport and next hop."""
        now = self._clock.now()
        self._add(Attempted(now, queue_id, recipient.address, recipient.original, status, *way))

    def ended(self, queue_id: str) -> None:
        self._add(Ended(self._clock.now(), queue_id))

    def operated(self, queue_id: str, operation: str) -> None:
        """An operator had it done."""
        self._add(Operated(self._clock.now(), queue_id, operation))

    def _add(self, record: Record) -> None:
        self._writer.add(record)
        self._count += 1
        if self._count >= _MOST:
            self.flush()
        elif not self._due:
            self._due = True
            self._clock.call_later(_LAG, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        self._due = False
        self._count = 0
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
