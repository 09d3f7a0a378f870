"""Reports to senders and postmasters (RFC 3461 6, RFC 3462, RFC 3464), in Postfix's layout.

Pure: facts in, message out. Three parts: what a person reads, what a program reads, and what was sent.
"""

import time
from collections.abc import Callable, Sequence

from postwarden.bounce.deciding import Decider
from postwarden.bounce.expansion import Texts
from postwarden.bounce.fields import parts, recipient_fields, told, traced, typed
from postwarden.bounce.original import body_of, content_type, returned
from postwarden.bounce.params import BounceParams
from postwarden.bounce.reasons import reason
from postwarden.bounce.templates import Template, author
from postwarden.bounce.text import external, fold, from_xtext
from postwarden.mail.date import mail_date
from postwarden.mail.envelope import Envelope, Notify, Recipient
from postwarden.mail.queue import Content, NewMessage
from postwarden.mail.round import Kind, Report
from postwarden.mail.status import Status
from postwarden.tables.source import mark

_TEMPLATES = {kind: "failure" if kind is Kind.EXPIRY else kind.value for kind in Kind}
Named = Sequence[tuple[Recipient, Status]]


class Reports(Decider):
    """`texts` reads the templates; `now` gives seconds since the epoch; `double_bounce_recipient` is
    2bounce_notice_recipient. Raises ConfigError."""

    def __init__(
        self,
        params: BounceParams,
        texts: Callable[[], Texts],
        now: Callable[[], float],
        *,
        double_bounce_recipient: str,
    ) -> None:
        super().__init__(params, double_bounce_recipient)
        self._read = texts
        self._mark = mark(params.bounce_template_file) if params.bounce_template_file else None
        self._texts = texts()
        self._now = now

    def refresh(self) -> None:
        """A template file that has changed is read anew. Raises ConfigError, and then keeps what it had."""
        found = mark(self._params.bounce_template_file) if self._params.bounce_template_file else None
        if found != self._mark:
            self._mark = found
            self._texts = self._read()

    def compose(self, report: Report, envelope: Envelope, content: Content, queue_id: str) -> NewMessage:
        """The report as a message with `queue_id`. `content` is that of the message that it is about; its descriptor
        is only read."""
        now = self._now()
        message_id = f"<{time.strftime('%Y%m%d%H%M%S', time.gmtime(now))}.{queue_id}@{self._params.myhostname}>"
        known = (*envelope.recipients, *envelope.expanded)
        outcomes = sorted(report.outcomes, key=_index)
        named = [one for index, status in outcomes for one in parts(known[index], status)]
        page = _Page(self._params, self._texts, report, envelope, now)
        head, body = page.head(queue_id, message_id), page.body(named, content)
        made = Envelope(
            queue_id,
            now,
            report.sender,
            (Recipient(report.recipient, notify=Notify.NEVER),),
            len(head) + len(body),
            eight_bit=True,
            smtputf8=envelope.smtputf8,
            message_id=message_id,
        )
        return NewMessage(made, head, body)


class _Page:
    """One report while it is written."""

    def __init__(self, params: BounceParams, texts: Texts, report: Report, envelope: Envelope, now: float) -> None:
        self._params = params
        self._report = report
        self._envelope = envelope
        self._now = now
        kind = _TEMPLATES[report.kind]
        self._template: Template = texts.templates[kind]
        self._text = texts.expanded[kind]
        self._boundary = f"{envelope.queue_id}.{int(now)}/{params.myhostname}"
        eight_bit = params.smtputf8_enable or envelope.eight_bit
        self._encoding = ("Content-Transfer-Encoding: 8bit",) if eight_bit else ()
        self._sender = envelope.sender or f"MAILER-DAEMON@{params.myorigin}"

    def head(self, queue_id: str, message_id: str) -> bytes:
        params, template, postmaster = self._params, self._template, self._report.postmaster
        return lines(
            f"Received: by {params.myhostname} ({params.mail_name})",
            f"\tid {queue_id}; {mail_date(self._now)}",
            f"Date: {mail_date(self._now)}",
            f"From: {author(template, params.header_from_format)}",
            f"Subject: {template.postmaster_subject if postmaster else template.subject}",
            f"To: {external(self._report.recipient)}",
            *self._thread(),
            f"Auto-Submitted: {'auto-generated' if postmaster else 'auto-replied'}",
            "MIME-Version: 1.0",
            "Content-Type: multipart/report; report-type=delivery-status;",
            f'\tboundary="{self._boundary}"',
            *self._encoding,
            f"Message-Id: {message_id}",
            "",
        )

    def _thread(self) -> tuple[str, ...]:
        """RFC 5322 3.6.4."""
        message_id = self._envelope.message_id
        fit = message_id.startswith("<") and message_id.endswith(">") and message_id.isprintable()
        if not fit or not self._params.enable_threaded_bounces:
            return ()
        return f"References: {message_id}", f"In-Reply-To: {message_id}"

    def body(self, named: Named, content: Content) -> bytes:
        mark = f"--{self._boundary}\r\n".encode()
        return b"".join((
            b"This is a MIME-encapsulated message.\r\n\r\n",
            mark,
            self._notification(named),
            mark,
            self._delivery_status(named),
            mark,
            self._original(content),
            f"--{self._boundary}--\r\n".encode(),
        ))  # fmt: skip

    def _notification(self, named: Named) -> bytes:
        charset = self._template.charset
        if charset.lower() == "us-ascii" and self._params.smtputf8_enable:
            charset = "utf-8"
        text = () if self._report.postmaster else self._text
        parts = [
            lines(
                "Content-Description: Notification",
                f"Content-Type: text/plain; charset={charset}",
                *self._encoding,
                "",
                *text,
                "",
            )
        ]
        kind = self._report.kind
        for recipient, status in named:
            expanded = f" (expanded from <{external(recipient.original)}>)" if recipient.original else ""
            parts.append(fold(f"<{external(recipient.address)}>{expanded}: {told(kind, status)}"))
            why = self._why(status)
            parts.append(fold(f"    {why}") if why else b"")
            parts.append(b"\r\n")
        return b"".join(parts)

    def _why(self, status: Status) -> str:
        if not self._params.postwarden_bounce_reasons:
            return ""
        envelope = self._envelope
        age = self._now - envelope.arrival
        postmaster, null = self._report.postmaster, not envelope.sender
        return reason(self._report.kind, status, self._params, age=age, null=null, postmaster=postmaster)

    def _delivery_status(self, named: Named) -> bytes:
        envelope, params, kind = self._envelope, self._params, self._report.kind
        utf8 = envelope.smtputf8  # RFC 6533 4
        head = [
            "Content-Description: Delivery report",
            f"Content-Type: message/{'global-' if utf8 else ''}delivery-status",
            *(self._encoding if utf8 else ()),
            "",
            f"Reporting-MTA: dns; {params.myhostname}",
        ]
        if envelope.envid:
            head.append(f"Original-Envelope-Id: {from_xtext(envelope.envid)}")
        head += [
            f"X-Postfix-Queue-ID: {envelope.queue_id}",
            f"X-Postfix-Sender: {typed(self._sender)}",
            f"Arrival-Date: {mail_date(envelope.arrival)}",
            "",
        ]
        until = envelope.arrival + params.maximal_queue_lifetime if kind is Kind.DELAY else 0.0
        return lines(*head) + b"".join([recipient_fields(kind, *both, until=until) for both in named])

    def _original(self, content: Content) -> bytes:
        limit, envelope = self._params.bounce_size_limit, self._envelope
        body = body_of(content, limit) if self._report.whole and envelope.size <= limit else None
        what = "Message" if traced(self._report.kind) else "Undelivered Message"
        return lines(
            f"Content-Description: {what}{'' if body is not None else ' Headers'}",
            f"Content-Type: {content_type(whole=body is not None, utf8=envelope.smtputf8)}",
            *self._encoding,
            "",
            f"Return-Path: <{external(self._sender)}>",
        ) + returned(content, body)


def _index(outcome: tuple[int, Status]) -> int:
    return outcome[0]


def lines(*texts: str) -> bytes:
    return "".join([f"{text}\r\n" for text in texts]).encode("utf-8", "surrogateescape")
