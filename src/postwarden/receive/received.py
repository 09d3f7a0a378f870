"""The Received header that we add (RFC 5321 4.4), word for word as Postfix writes it."""

import re

from postwarden.mail.address import external
from postwarden.mail.date import mail_date
from postwarden.mail.envelope import Client
from postwarden.mail.session import SessionFacts, TlsFacts

_UNSAFE = re.compile(r"[ <>()\\\";@\x00-\x1f\x7f]")


class Dates:
    """`mail_date`, made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def at(self, moment: float) -> str:
        second = int(moment)
        if second != self._second:
            self._second = second
            self._text = mail_date(second)
        return self._text


def safe_name(text: str) -> str:
    """A HELO name with `?` for what would be syntax in a header or a log line."""
    return _UNSAFE.sub("?", text)


class ReceivedBy:
    """What is the same for all messages of a service."""

    def __init__(self, hostname: str, mail_name: str, *, show_tls: bool, hidden: bool = False) -> None:
        """`hidden`: whose session it was, and how it was made, is nobody's business (smtpd_hide_client_session)."""
        self._by = f"by {hostname} ({mail_name}) with "
        self._hidden = f"Received: by {hostname} ({mail_name}) id " if hidden else ""
        self._show_tls = show_tls

    def opening(self, facts: SessionFacts, *, smtputf8: bool = False) -> str:
        """Up to ` id `: the same for all messages of a session."""
        if self._hidden:
            return self._hidden
        client, tls = facts.client, facts.tls
        address = f"IPv6:{client.address}" if ":" in client.address else client.address
        layer = _layer(tls) if tls is not None and self._show_tls else ""
        return (
            f"Received: from {client.helo or client.name} ({client.name} [{address}])\r\n{layer}\t{self._by}"
            f"{protocol(client, tls, smtputf8=smtputf8)} id "
        )


def protocol(client: Client, tls: TlsFacts | None, *, smtputf8: bool) -> str:
    """The `with` keyword (RFC 3848, RFC 6531 4.3)."""
    name = client.protocol
    if smtputf8:
        name = "UTF8" + name.removeprefix("E")
    if name != "SMTP":
        name += ("S" if tls is not None else "") + ("A" if client.login else "")
    return name


def closing(queue_id: str, only_recipient: str, date: str) -> str:
    """From the queue id to the end. `for` names a recipient only where there is one: a second one might be secret.
    Its local part is quoted where it must be, so that it can't end the clause."""
    if only_recipient:
        return f"{queue_id}\r\n\tfor <{external(only_recipient)}>; {date}\r\n"
    return f"{queue_id};\r\n\t{date}\r\n"


def _layer(tls: TlsFacts) -> str:
    subject = f'Client CN "{tls.peer_subject}"' if tls.peer_subject else "No client certificate requested"
    return f"\t(using {tls.protocol} with cipher {tls.cipher} ({tls.bits}/{tls.bits} bits))\r\n\t({subject})\r\n"
