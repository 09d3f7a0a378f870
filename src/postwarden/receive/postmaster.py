"""Transcripts of sessions that had trouble, as mail to the postmaster (notify_classes, error_notice_recipient)."""

import traceback

from msgspec import structs

from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.mail.decision import Pending
from postwarden.mail.envelope import Client, Envelope
from postwarden.mail.events import Failure, Warn, printable
from postwarden.mail.reply import Reply
from postwarden.mail.status import Status
from postwarden.mail.transcript import Ration, Transcript, Trouble, postmaster_notice, trouble_of
from postwarden.net.clock import Clock
from postwarden.net.log import Log
from postwarden.net.waiting import Waiting
from postwarden.receive.params import NoticeParams
from postwarden.receive.ports import Clerk, Store

_ROUNDS = 200


class Postmaster:
    """Of one service. Sessions ask it for a transcript, and hand it back when they end."""

    def __init__(
        self,
        settings: Settings,
        key: str,
        *,
        clock: Clock,
        log: Log,
        store: Store,
        clerk: Clerk | None,
        waiting: Waiting,
    ) -> None:
        """`clerk` prepares what we say ourselves; without one nothing is told. Raises ConfigError."""
        self._params = view(NoticeParams, settings, key)
        self._name = settings.text("syslog_name", key)
        self._clock, self._log, self._store, self._clerk, self._waiting = clock, log, store, clerk, waiting
        self._classes = trouble_of(self._params.notify_classes) if clerk is not None else Trouble.NONE
        self._ration = Ration()

    def transcript(self) -> Transcript | None:
        """None: no trouble is told."""
        return Transcript() if self._classes else None

    def tell(self, client: Client, transcript: Transcript, trouble: Trouble, reason: str) -> None:
        """`reason`: why the session was aborted; empty: it was not."""
        if not trouble & self._classes or not self._may_tell():
            return
        params, clerk = self._params, self._clerk
        assert clerk is not None
        queue_id, now = self._store.new_queue_id(), self._clock.now()
        text = ["Transcript of session follows.", "", *transcript.lines("In", "Out"), ""]
        if reason:
            text.append(f"Session aborted, reason: {reason}")
        refused = trouble & Trouble.BOUNCE
        envelope, head, body = postmaster_notice(
            queue_id=queue_id,
            now=now,
            hostname=params.myhostname,
            mail_name=params.mail_name,
            sender=f"{params.double_bounce_sender}@{params.myorigin}",
            recipient=params.error_notice_recipient,
            to=params.bounce_notice_recipient if refused else "",
            subject=f"{params.mail_name} SMTP server: errors from {client}",
            text=text,
        )
        self._prepare(clerk, envelope, head, body)

    def _prepare(self, clerk: Clerk, envelope: Envelope, head: bytes, body: bytes, rounds: int = 0) -> None:
        """No trouble with a notice may reach the session that it is about."""
        try:
            prepared = clerk(envelope, head)
        except Pending as pending:
            self._fetch(clerk, pending, envelope, head, body, rounds + 1)
            return
        except Exception:
            trouble = printable(traceback.format_exc(limit=-3).replace("\n", " | "))
            self._log.emit("smtpd", Failure(f"postmaster notify: {trouble}"), self._name)
            return
        if isinstance(prepared, Status):
            self._failed(prepared.text)
            return
        envelope, head = prepared
        envelope = structs.replace(envelope, size=len(head) + len(body))
        full = self._store.room(envelope.size)
        if full is not None:
            self._failed(str(full))
        elif envelope.recipients:
            draft = self._store.draft()
            draft.write(body)
            draft.commit(envelope, head, self._stored)

    def _fetch(self, clerk: Clerk, pending: Pending, envelope: Envelope, head: bytes, body: bytes, rounds: int) -> None:
        def fetched(error: Exception | None) -> None:
            if error is not None or rounds > _ROUNDS:
                self._failed(str(error or "too many facts"))
            else:
                self._prepare(clerk, envelope, head, body, rounds)

        self._waiting.wait(pending.fetch, fetched)

    def _stored(self, fault: Reply | None) -> None:
        if fault is not None:
            self._failed(str(fault))

    def _failed(self, why: str) -> None:
        self._log.emit("smtpd", Warn(f"postmaster notify: {why}"), self._name)

    def _may_tell(self) -> bool:
        refused = self._ration.refuse(self._clock.monotonic())
        if refused:
            self._failed(refused)
        return refused is None
