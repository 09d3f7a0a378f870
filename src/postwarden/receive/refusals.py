"""What the server refuses by itself, policy unasked: a limit, a broken rule of SMTP, a trouble here. It is recorded
with the parameter that decides, where there is one, read from the reply as `trouble` reads it."""

from typing import TYPE_CHECKING

from postwarden.mail.decision import BUILT_IN, Decision, Rule, Verdict
from postwarden.mail.reply import Reply
from postwarden.receive.verdicts import record

if TYPE_CHECKING:
    from postwarden.receive.session import Session

_DECIDING = (
    ("Error: too much mail from ", "smtpd_client_message_rate_limit"),
    ("Error: too many recipients from ", "smtpd_client_recipient_rate_limit"),
    ("Error: too many recipients", "smtpd_recipient_limit"),
    ("Error: too many new TLS sessions from ", "smtpd_client_new_tls_session_rate_limit"),
    ("Error: too many errors", "smtpd_hard_error_limit"),
    ("Error: too many hops", "hopcount_limit"),
    ("Message size exceeds fixed limit", "message_size_limit"),
    ("Error: message file too big", "message_size_limit"),
    ("Error: message far too big", "message_size_limit"),
    ("Chunk ", "message_size_limit"),
    ("Insufficient system storage", "queue_minfree"),
    ("Error: bare <LF> received", "smtpd_forbid_bare_newline"),
    ("Error: SMTP protocol synchronization", "smtpd_forbid_unauth_pipelining"),
    ("Error: command line too long", "line_length_limit"),
    ("Error: timeout exceeded", "smtpd_timeout"),
    ("Error: all server ports are busy", "default_process_limit"),
    ("Must issue a STARTTLS command first", "smtpd_tls_security_level"),
    ("TLS not available due to local problem", "smtpd_tls_cert_file"),
    ("Unsupported option: SMTPUTF8", "smtputf8_enable"),
    ("DSN support is disabled", "smtpd_discard_ehlo_keywords"),
    ("VRFY command is disabled", "disable_vrfy_command"),
    ("Alias expansion error", "virtual_alias_expansion_limit"),
    ("Error: insufficient authorization", "smtpd_authorized_xclient_hosts"),
    ("Error: authentication not enabled", "smtpd_sasl_auth_enable"),
    ("Error: send HELO/EHLO first", "smtpd_helo_required"),
)
_FOLLOWING = (
    "Error: no valid recipients", "Error: need RCPT command", "Error: access denied for ", "Discarded ",
)  # fmt: skip
"""What a client hears who goes on after a refusal: the reason is recorded there."""
_IDLE = ("4.4.2", "4.3.2")
"""Time-out and the end of this process: who has no message under way is not refused by them."""
TROUBLE, PROTOCOL = "a trouble here", "the rules of SMTP"


def deciding(reply: Reply) -> str:
    """The parameter that decides, or TROUBLE or PROTOCOL."""
    if reply.text.startswith("Error: too many connections from "):
        return "smtpd_client_connection_count_limit"
    if reply.code == 459:  # RFC 1985 5.3: ETRN for a site whose mail does not wait here
        return "fast_flush_domains"
    for text, parameter in _DECIDING:
        if reply.text.startswith(text):
            return parameter
    return TROUBLE if reply.temporary else PROTOCOL


def refused(session: "Session", reply: Reply, *, recipient: str = "", sender: str | None = None) -> Reply:
    """Record it -> the reply, which may have a reference now. Policy's refusals are recorded by `verdicts`."""
    service = session.service
    recorder = service.recorder
    if recorder is None or reply.text.startswith(_FOLLOWING):
        return reply
    text = reply.text.removeprefix(f"{service.hostname} ")
    name = deciding(Reply(reply.code, reply.status, text))
    if name in ("smtpd_tls_security_level", "smtpd_tls_cert_file"):
        name = service.why_no_tls() or name
    rule = Rule(name, "", BUILT_IN) if name in (TROUBLE, PROTOCOL) else service.because(name)
    reply = service.referring(reply, recorder)
    decision = Decision(Verdict.DEFER if reply.temporary else Verdict.REJECT, rule, (), reply)
    record(session, recorder, decision, session.where, reply, recipient=recipient, sender=sender, policy=False)
    session.recorded = reply
    return reply


def hung_up(session: "Session", reply: Reply) -> Reply:
    """The same for what ends a session in the midst."""
    if session.transaction is None and reply.status in _IDLE:
        return reply
    return refused(session, reply)


def turned_away(session: "Session", reply: Reply) -> Reply:
    """The same for who found no free place: of many at a time, who would push all else out of the store, only some."""
    return refused(session, reply) if session.service.may_record_full() else reply
