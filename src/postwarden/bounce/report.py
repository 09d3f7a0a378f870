"""The report to a sender whose message could not be delivered (RFC 3461 6, RFC 3462, RFC 3464), in Postfix's layout.

Pure: facts in, message out. Three parts: what a person reads, what a program reads, and what was sent.
"""

import os
import time
from collections.abc import Callable, Sequence

from postwarden.bounce.params import BounceParams
from postwarden.bounce.text import external, fold, from_xtext
from postwarden.mail.date import mail_date
from postwarden.mail.envelope import Envelope, Notify, Recipient
from postwarden.mail.queue import Content, NewMessage
from postwarden.mail.status import Status

_FAILURE = """\
I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system
"""
Failed = Sequence[tuple[int, Status]]


class Reports:
    """`now` gives seconds since the epoch."""

    def __init__(self, params: BounceParams, now: Callable[[], float]) -> None:
        self._params = params
        self._now = now

    def wanted(self, envelope: Envelope, failed: Failed) -> bool:
        """No report for the null sender: it would make a loop (RFC 5321 4.5.5); nor where nobody asked for one."""
        return bool(envelope.sender) and any(_notifies(envelope.recipients[index]) for index, _ in failed)

    def failure(self, envelope: Envelope, failed: Failed, content: Content, queue_id: str) -> NewMessage:
        """The report as a message with `queue_id`. `content` is the failed message's; its descriptor is only read.
        RFC 3461 5.2.5: only recipients whose failure is to be told."""
        now = self._now()
        told = [(envelope.recipients[i], status) for i, status in sorted(failed) if _notifies(envelope.recipients[i])]
        boundary = f"{envelope.queue_id}.{int(now)}/{self._params.myhostname}"
        mark = f"--{boundary}\r\n".encode()
        message_id = f"<{time.strftime('%Y%m%d%H%M%S', time.gmtime(now))}.{queue_id}@{self._params.myhostname}>"
        head = self._head(envelope, queue_id, now, boundary, message_id)
        body = b"".join((
            b"This is a MIME-encapsulated message.\r\n\r\n",
            mark,
            self._notification(told),
            mark,
            self._delivery_status(envelope, told),
            mark,
            self._returned(envelope, content),
            f"--{boundary}--\r\n".encode(),
        ))  # fmt: skip
        made = Envelope(
            queue_id,
            now,
            "",
            (Recipient(envelope.sender, notify=Notify.NEVER),),
            len(head) + len(body),
            eight_bit=True,
            smtputf8=envelope.smtputf8,
            message_id=message_id,
        )
        return NewMessage(made, head, body)

    def _head(self, envelope: Envelope, queue_id: str, now: float, boundary: str, message_id: str) -> bytes:
        params = self._params
        daemon = f"MAILER-DAEMON@{params.myorigin}"
        author = f"Mail Delivery System <{daemon}>"
        if params.header_from_format == "obsolete":
            author = f"{daemon} (Mail Delivery System)"
        return _lines(
            f"Received: by {params.myhostname} ({params.mail_name})",
            f"\tid {queue_id}; {mail_date(now)}",
            f"Date: {mail_date(now)}",
            f"From: {author}",
            "Subject: Undelivered Mail Returned to Sender",
            f"To: {external(envelope.sender)}",
            "Auto-Submitted: auto-replied",
            "MIME-Version: 1.0",
            "Content-Type: multipart/report; report-type=delivery-status;",
            f'\tboundary="{boundary}"',
            "Content-Transfer-Encoding: 8bit",
            f"Message-Id: {message_id}",
            "",
        )

    def _notification(self, told: Sequence[tuple[Recipient, Status]]) -> bytes:
        parts = [
            _lines(
                "Content-Description: Notification",
                "Content-Type: text/plain; charset=utf-8",
                "Content-Transfer-Encoding: 8bit",
                "",
                f"This is the mail system at host {self._params.myhostname}.",
                "",
                *_FAILURE.splitlines(),
                "",
            )
        ]
        for recipient, status in told:
            expanded = f" (expanded from <{external(recipient.original)}>)" if recipient.original else ""
            parts.append(fold(f"<{external(recipient.address)}>{expanded}: {status.text}") + b"\r\n")
        return b"".join(parts)

    def _delivery_status(self, envelope: Envelope, told: Sequence[tuple[Recipient, Status]]) -> bytes:
        kind = "message/delivery-status"
        encoding = []
        if envelope.smtputf8:  # RFC 6533 4
            kind, encoding = "message/global-delivery-status", ["Content-Transfer-Encoding: 8bit"]
        head = ["Content-Description: Delivery report", f"Content-Type: {kind}", *encoding, ""]
        head.append(f"Reporting-MTA: dns; {self._params.myhostname}")
        if envelope.envid:
            head.append(f"Original-Envelope-Id: {from_xtext(envelope.envid)}")
        head += [
            f"X-Postfix-Queue-ID: {envelope.queue_id}",
            f"X-Postfix-Sender: {_typed(envelope.sender)}",
            f"Arrival-Date: {mail_date(envelope.arrival)}",
            "",
        ]
        return _lines(*head) + b"".join(_recipient_fields(recipient, status) for recipient, status in told)

    def _returned(self, envelope: Envelope, content: Content) -> bytes:
        body = _body(content, self._params.bounce_size_limit)
        whole = envelope.ret != "HDRS" and envelope.size <= self._params.bounce_size_limit and body is not None
        if whole:
            kind = "message/global" if envelope.smtputf8 else "message/rfc822"
        else:
            kind = "message/global-headers" if envelope.smtputf8 else "text/rfc822-headers"
        head = _lines(
            f"Content-Description: Undelivered Message{'' if whole else ' Headers'}",
            f"Content-Type: {kind}",
            "Content-Transfer-Encoding: 8bit",
            "",
            f"Return-Path: <{external(envelope.sender)}>",
        )
        if not whole:
            return head + (content.head or b"\r\n")
        body = body or b""
        if body and not body.endswith(b"\r\n"):
            body += b"\r\n"
        return head + content.head + body + b"\r\n"


def _notifies(recipient: Recipient) -> bool:
    return recipient.notify == 0 or bool(recipient.notify & Notify.FAILURE)


def _body(content: Content, limit: int) -> bytes | None:
    """The body, if it is no larger than `limit` and can be read: a bad block must not keep the report from leaving."""
    if content.body is not None:
        return content.body
    if content.fd < 0 or content.size > limit:
        return None
    try:
        data = os.pread(content.fd, content.size, content.offset)
    except OSError:
        return None
    return data if len(data) == content.size else None


def _typed(address: str) -> str:
    """Address type and address (RFC 3464 2.1.2, RFC 6533 3)."""
    return f"{'rfc822' if address.isascii() else 'utf-8'}; {external(address)}"


def _recipient_fields(recipient: Recipient, status: Status) -> bytes:
    if recipient.orcpt:
        kind, _, original = recipient.orcpt.partition(";")
        original = f"{kind};{from_xtext(original)}"
    else:
        original = _typed(recipient.original or recipient.address).replace("; ", ";", 1)
    lines = [
        f"Final-Recipient: {_typed(recipient.address)}",
        f"Original-Recipient: {original}",
        "Action: failed",
        f"Status: {status.code}",
    ]
    if status.remote_mta:
        lines.append(f"Remote-MTA: dns; {status.remote_mta}")
    if status.remote_reply:
        diagnostic = f"smtp; {status.remote_reply}"
    else:
        diagnostic = f"X-Postfix; {status.text}"
    diagnostic = " ".join(diagnostic.split("\n"))
    return b"".join(fold(line) for line in (*lines, f"Diagnostic-Code: {diagnostic}")) + b"\r\n"


def _lines(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")
