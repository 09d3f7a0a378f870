"""What a client hears, as smtpd(8) says it: each reply from connect to DATA, for many sessions and configurations."""

import contextlib
import smtplib
from collections.abc import Iterator
from itertools import product, zip_longest

import pytest
from msgspec import Struct
from msgspec.structs import replace
from tests.rewrite_service import Judges, needs_postfix

from postwarden.addressing.resolve import open_resolver
from postwarden.mail.address import external
from postwarden.mail.decision import Decision, Verdict
from postwarden.mail.envelope import Client
from postwarden.mail.session import SessionFacts
from postwarden.policy.judge import Judge
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings

pytestmark = [needs_postfix, pytest.mark.postfix, pytest.mark.slow]

BASE = {
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "mynetworks": "127.0.0.0/8 192.0.2.0/24",
    "relay_domains": "rel.example",
    "virtual_alias_domains": "virt.example",
    "virtual_alias_maps": "inline:{known@virt.example=x@far.example}",
    "virtual_mailbox_domains": "mbox.example",
    "virtual_mailbox_maps": "inline:{known@mbox.example=x}",
    "local_recipient_maps": "inline:{{known=x} {root=x}}",
    "relay_recipient_maps": "inline:{{known@rel.example=x} {@all.rel.example=x}}",
    "recipient_delimiter": "+",
    "smtpd_error_sleep_time": "0",
    "smtpd_hard_error_limit": "100000",
    "smtpd_soft_error_limit": "100000",
    "smtpd_junk_command_limit": "100000",
    "smtpd_peername_lookup": "no",
}
FAR = ("mail.far.example", "198.51.100.7")
CLIENTS = (
    ("localhost", "127.0.0.1"),
    FAR,
    ("[UNAVAILABLE]", "203.0.113.9"),
    ("[TEMPUNAVAIL]", "203.0.113.10"),
    ("host.bad.example", "192.0.2.9"),
    ("x.blocked.example", "203.0.113.77"),
)
HELOS = """
mail.far.example host [203.0.113.9] bad_helo! [1.2.3 1.2.3.4 dotted. h.blocked.example [IPv6:::1] a..b -x.example d.x
""".split()  # fmt: skip  # noqa: SIM905
SENDERS = ("", *"""
s@far.example s s@host known@mx.example.com nobody@mx.example.com spam@blocked.example u@sub.blocked.example
user+ext@acc.example known@mbox.example nobody@mbox.example nobody@virt.example nobody@rel.example
""".split())  # fmt: skip  # noqa: SIM905
RECIPIENTS = """
known@mx.example.com nobody@mx.example.com known nobody known+x@mx.example.com postmaster postmaster@mx.example.com
root@localhost known@virt.example nobody@virt.example known@mbox.example nobody@mbox.example known@rel.example
nobody@rel.example a@all.rel.example a@sub.rel.example x@far.example a%far.example@mx.example.com
a%far.example@rel.example a!b@rel.example a@far.example@rel.example x@[127.0.0.1] known@[127.0.0.1] x@[1.2.3.4] x@host
blocked@acc.example user+ext@acc.example user+foo@acc.example other@acc.example MAILER-DAEMON@mx.example.com
double-bounce@mx.example.com KNOWN@MX.EXAMPLE.COM err@err.example moved@far.example x@retry.example x@err2.example
x@err3.example
""".split()  # noqa: SIM905
DETAILS = tuple(f"{letter}@y" for letter in "abcdefgjklmnopqrstuvwz") + tuple(f"d{n}@x.example" for n in range(11))
ACCESS = (
    """inline:{
 {blocked.example=REJECT} {acc.example=450 4.7.9 wait} {user+ext@acc.example=OK} {user@acc.example=DUNNO}
 {blocked@=REJECT custom text} {198.51.100=554 go} {203.0.113.9=DEFER} {203.0.113=REJECT 5.9.9 no net}
 {host=501 5.5.4 hi} {rel.example=permit_mynetworks, reject} {far.example=DEFER later} {<>=REJECT null} {192=OK}
 {known@=12345} {nobody@=bogus} {s@=550} {mx.example.com=reject_unauth_destination} {d.x=550 5.1.1 c}
 {a@y=REJECT 4.2.1 txt} {b@y=450 5.2.1 txt} {c@y=421 4.1.1 txt} {d@y=REJECT 5.2.1} {e@y=reject   spaced   text}
 {f@y=defer_if_permit} {g@y=DEFER_IF_REJECT x} {j@y=permit, reject} {k@y=554} {l@y=5544 x} {m@y=ok} {n@y=OK text}
 {o@y=DUNNO text} {p@y=550 2.1.0 x} {q@y=550  x} {r@y=PERMIT} {s@y=} {t@y=relay_ok} {u@y=4} {v@y=650 x} {w@y=200 x}
 {z@y=check_sender_access inline:{z@y=REJECT}}
 %s }""".replace("\n", " ")
    % " ".join(f"{{d{n}@x.example=550 5.1.{n} t}}" for n in range(11))
)
TRANSPORTS = (
    "inline:{ {err.example=error:5.7.9 go away} {err2.example=error:plain} {err3.example=error}"
    " {retry.example=retry:4.9.9 later} {far.example=error:5.1.1 nope}}"
)


class Session(Struct, frozen=True):
    client: tuple[str, str]
    helo: str
    sender: str
    recipients: tuple[str, ...]
    data: bool = False


def sessions(
    clients: tuple[tuple[str, str], ...] = (FAR,),
    helos: tuple[str, ...] = ("mail.far.example",),
    senders: tuple[str, ...] = ("s@far.example",),
    recipients: tuple[str, ...] = tuple(RECIPIENTS),
    *,
    data: bool = False,
) -> list[Session]:
    return [Session(*chosen, recipients, data) for chosen in product(clients, helos, senders)]


ONE = ("known",)
TWO_SENDERS = ("", "s@far.example")
NOWHERE = "texthash:/nonexistent"
CONFIGURATIONS: dict[str, tuple[list[Session], dict[str, str]]] = {
    "defaults": (sessions(CLIENTS, senders=tuple(SENDERS)), {}),
    "transports": (
        sessions(),
        {
            "transport_maps": TRANSPORTS,
            "relocated_maps": "inline:{moved@far.example=new@x}",
            "relay_domains": "rel.example err.example retry.example err2.example err3.example far.example",
        },
    ),
    "at once": (
        sessions(CLIENTS, tuple(HELOS), tuple(SENDERS), ("x@far.example",)),
        {
            "smtpd_delay_reject": "no",
            "smtpd_client_restrictions": f"check_client_access {ACCESS}",
            "smtpd_helo_restrictions": "reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname",
            "smtpd_sender_restrictions": "reject_non_fqdn_sender, reject_unlisted_sender",
        },
    ),
    "delayed": (
        sessions(CLIENTS, tuple(HELOS[:3]), tuple(SENDERS[:6]), tuple(RECIPIENTS[:6])),
        {
            "smtpd_client_restrictions": "reject_unknown_client_hostname",
            "smtpd_helo_restrictions": "permit_mynetworks reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname",
            "smtpd_sender_restrictions": "reject_non_fqdn_sender, reject_unlisted_sender",
            "unknown_client_reject_code": "550",
        },
    ),
    "invalid HELO": (sessions(helos=tuple(HELOS), recipients=ONE), {
        "smtpd_helo_restrictions": "reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname",
    }),
    "short HELO": (sessions(helos=tuple(HELOS), recipients=ONE), {
        "smtpd_helo_restrictions": "reject_non_fqdn_helo_hostname",
    }),
    "reverse name": (sessions(CLIENTS, senders=TWO_SENDERS, recipients=ONE), {
        "smtpd_client_restrictions": "reject_unknown_reverse_client_hostname",
    }),
    "client access": (sessions(CLIENTS, senders=TWO_SENDERS, recipients=("known", "x@far.example")), {
        "smtpd_client_restrictions": f"check_client_access {ACCESS}",
    }),
    "HELO access": (sessions(helos=tuple(HELOS), senders=TWO_SENDERS, recipients=ONE), {
        "smtpd_helo_restrictions": f"check_helo_access {ACCESS}",
    }),
    "sender access": (sessions(senders=(*SENDERS, *DETAILS), recipients=ONE), {
        "smtpd_sender_restrictions": f"check_sender_access {ACCESS}",
    }),
    "recipient access": (sessions(CLIENTS, senders=TWO_SENDERS), {
        "smtpd_recipient_restrictions": f"check_recipient_access {ACCESS}",
    }),
    "recipient access, no relay list": (sessions(CLIENTS, senders=TWO_SENDERS), {
        "smtpd_relay_restrictions": "",
        "smtpd_recipient_restrictions": f"{ACCESS}, reject_unauth_destination, reject_non_fqdn_recipient, defer",
    }),
    "recipient details": (sessions(recipients=DETAILS), {
        "smtpd_relay_restrictions": "permit",
        "smtpd_recipient_restrictions": f"check_recipient_access {ACCESS}, defer_if_permit",
    }),
    "words": (sessions(CLIENTS, senders=TWO_SENDERS), {
        "smtpd_recipient_restrictions": "permit_auth_destination, reject_non_fqdn_recipient, reject",
    }),
    "more words": (sessions(CLIENTS[:2], senders=TWO_SENDERS), {
        "smtpd_recipient_restrictions": "reject_multi_recipient_bounce "
        "reject_non_fqdn_recipient, permit_mynetworks, reject_plaintext_session, defer",
    }),
    "put off": (sessions(CLIENTS[:2], senders=TWO_SENDERS), {
        "smtpd_client_restrictions": "defer_if_permit",
        "smtpd_recipient_restrictions": "permit_mynetworks, defer_if_reject, reject",
    }),
    "put off at once": (sessions(CLIENTS[:2], senders=TWO_SENDERS), {
        "smtpd_delay_reject": "no",
        "smtpd_helo_restrictions": "defer_if_permit",
    }),
    "data": (sessions(CLIENTS[:2], senders=TWO_SENDERS, recipients=tuple(RECIPIENTS[:2]), data=True), {
        "smtpd_data_restrictions": "reject_unauth_pipelining, reject",
    }),
    "bounces to many": (sessions(senders=TWO_SENDERS, recipients=("known", "root@localhost"), data=True), {
        "smtpd_data_restrictions": "reject_multi_recipient_bounce, reject",
    }),
    "untrusted routing": (sessions(), {"allow_untrusted_routing": "yes"}),
    "other codes": (sessions(), {
        "show_user_unknown_table_name": "no",
        "unknown_local_recipient_reject_code": "450",
        "smtpd_relay_before_recipient_restrictions": "yes",
        "relay_domains_reject_code": "450",
    }),
    "all recipients": (sessions(), {"smtpd_reject_unlisted_recipient": "no", "local_recipient_maps": ""}),
    "soft bounces": (sessions(), {"soft_bounce": "yes"}),
    "maps missing": (sessions(), {"local_recipient_maps": NOWHERE, "relay_recipient_maps": NOWHERE}),
    "access table missing": (sessions(), {"smtpd_recipient_restrictions": f"check_recipient_access {NOWHERE}"}),
    "transport table missing": (sessions(), {"transport_maps": NOWHERE}),
    "classes": (sessions(CLIENTS), {
        "smtpd_restriction_classes": "mine",
        "mine": "permit_mynetworks, reject_unauth_destination",
        "smtpd_recipient_restrictions": "check_client_access inline:{198.51.100.7=mine}, mine, reject",
        "smtpd_relay_restrictions": "",
    }),
    "unlisted": (sessions(senders=tuple(SENDERS)), {
        "smtpd_reject_unlisted_sender": "yes",
        "smtpd_recipient_restrictions": "reject_unlisted_recipient, reject",
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_reply_is_postfix_own(name: str) -> None:
    chosen, parameters = CONFIGURATIONS[name]
    parameters = BASE | parameters
    ours = settings("", **parameters)
    tables = Tables.of(ours)
    judge = Judge(ours, "", tables, open_resolver(ours, tables))
    wrong = []
    with Judges(**parameters) as judges:
        theirs = Theirs(judges)
        for session in chosen:
            expected, found = list(theirs.replies(session)), list(our_replies(judge, session))
            if expected != found:
                who = f"{session.client} {session.helo} <{session.sender}>"
                wrong += [f"{who}: {e} | {f}" for e, f in zip_longest(expected, found) if e != f]
        theirs.close()
    assert not wrong, "\n".join(wrong)


def our_replies(judge: Judge, session: Session) -> Iterator[str]:
    name, address = session.client
    status = {"[TEMPUNAVAIL]": 4, "[UNAVAILABLE]": 5}.get(name, 2)
    client = Client("unknown" if status > 2 else name, address, reverse_name="unknown" if status > 2 else name)
    facts = SessionFacts(client, name_status=status, reverse_name_status=status)
    decision = judge.connect(facts)
    yield said(decision)
    if refused(decision):
        return
    facts = replace(facts, client=replace(client, helo=session.helo))
    for decision in (judge.helo(facts), judge.mail(facts, session.sender)):
        yield said(decision)
        if refused(decision):
            return
    accepted = 0
    for recipient in session.recipients:
        facts = replace(facts, sender=session.sender, recipients=accepted)
        decision = judge.recipient(facts, recipient)
        yield said(decision)
        if decision.reply is not None and decision.reply.code == 421:
            return
        accepted += not refused(decision)
    if session.data and accepted:
        yield said(judge.data(replace(facts, recipients=accepted)))


def refused(decision: Decision) -> bool:
    return decision.verdict in (Verdict.REJECT, Verdict.DEFER)


def said(decision: Decision) -> str:
    return str(decision.reply) if refused(decision) else "ok"


class Theirs:
    def __init__(self, judges: Judges) -> None:
        self._judges = judges
        self._smtp: smtplib.SMTP | None = None

    def replies(self, session: Session) -> Iterator[str]:
        try:
            yield from self._replies(session)
        except smtplib.SMTPServerDisconnected:
            self.close()

    def _replies(self, session: Session) -> Iterator[str]:
        if self._smtp is None:
            self._smtp = self._judges.smtp()
            self._smtp.ehlo("me")
        name, address = session.client
        for command in (
            f"XCLIENT NAME={name} ADDR={address} REVERSE_NAME={name}",
            f"EHLO {session.helo}",
            f"MAIL FROM:<{external(session.sender)}>",
        ):
            reply = self._say(command)
            yield reply
            if reply != "ok":
                if command.startswith("XCLIENT"):
                    self.close()
                return
        replies = []
        for recipient in session.recipients:
            replies.append(self._say(f"RCPT TO:<{external(recipient)}>"))
            yield replies[-1]
        if session.data and "ok" in replies:
            yield self._say("DATA")
        self._say("RSET")

    def _say(self, command: str) -> str:
        assert self._smtp is not None
        code, text = self._smtp.docmd(command)
        return "ok" if code < 400 else f"{code} {text.decode()}"

    def close(self) -> None:
        if self._smtp is not None:
            with contextlib.suppress(smtplib.SMTPServerDisconnected):
                self._smtp.close()
            self._smtp = None
