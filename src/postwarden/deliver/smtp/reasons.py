"""Every sentence about a delivery by SMTP or LMTP, with its status code: Postfix's words, since people search logs for
them and programs parse them. Pure: no state, no I/O."""

import os

from postwarden.mail.host import Host
from postwarden.mail.status import Status
from postwarden.net.dial import SourceError
from postwarden.wire.smtp_replies import RemoteReply
from postwarden.wire.smtp_states import BANNER, END, TLS

BODY = "<body>"
"""Stage of a session: content is being sent."""

_WHILE = {
    BANNER: "receiving the initial server greeting",
    "EHLO": "performing the EHLO handshake",
    "HELO": "performing the HELO handshake",
    "LHLO": "performing the LHLO handshake",
    "STARTTLS": "receiving the STARTTLS response",
    TLS: "performing the TLS handshake",
    "XFORWARD": "sending XFORWARD name/address",
    "MAIL": "sending MAIL FROM",
    "RCPT": "sending RCPT TO",
    "DATA": "sending DATA command",
    BODY: "sending message body",
    END: "sending end of data -- message may be sent more than once",
    "RSET": "sending final RSET",
    "QUIT": "sending QUIT",
}
_COMMAND = {"MAIL": "MAIL FROM command", "RCPT": "RCPT TO command", "DATA": "DATA command", END: "end of DATA command"}


def server(host: Host) -> str:
    """`name[address]`, as sentences name a server."""
    return f"{host.name}[{host.path or host.address}]"


def relay(host: Host) -> str:
    """`name[address]:port`, as `relay=` and connection failures have it; a Unix socket has no port."""
    return f"{host.name}[{host.path}]" if host.path else f"{host.name}[{host.address}]:{host.port}"


def said(host: Host, event: str, reply: RemoteReply) -> Status:
    """A command was refused, or answered with a reply of a class that makes no sense."""
    line = reply.line
    code, text = _judged(reply, f"host {server(host)} said: {line} (in reply to {_COMMAND[event]})")
    return Status(code, text, relay(host), host.name, line)


def refused_to_talk(host: Host, reply: RemoteReply, *, soften: bool = False) -> Status:
    """The greeting or the reply to HELO was not 2xx. `soften`: 5xx counts as 4xx (smtp_skip_5xx_greeting)."""
    line = reply.line
    code, text = _judged(reply, f"host {server(host)} refused to talk to me: {line}")
    if soften and 500 <= reply.code < 600:
        code = "4" + code[1:]
    return Status(code, text, relay(host), host.name, line)


def xforward_refused(host: Host, reply: RemoteReply) -> str:
    return f"host {relay(host)} said: {reply.line} (in reply to XFORWARD name/address command)"


def refused_tls(host: Host, reply: RemoteReply) -> Status:
    line = reply.line
    code, text = _judged(reply, f"TLS is required, but host {server(host)} refused to start TLS: {line}")
    return Status(code, text, relay(host), host.name, line)


def _judged(reply: RemoteReply, text: str) -> tuple[str, str]:
    """A reply that is no failure by its class and yet came where only success of another kind would do."""
    if reply.status[0] in "45":
        return reply.status, text
    return "5.5.0", f"Protocol error: {text}"


def done(host: Host, reply: RemoteReply, report: str) -> Status:
    """Delivered: the text is the server's own. `report` as in `Status`."""
    line = reply.line
    return Status(reply.status, line, relay(host), host.name, line, report)


def lost(host: Host, event: str) -> Status:
    return Status("4.4.2", f"lost connection with {server(host)} while {_WHILE[event]}", relay(host))


def timed_out(host: Host, event: str) -> Status:
    return Status("4.4.2", f"conversation with {server(host)} timed out while {_WHILE[event]}", relay(host))


def out_of_step(host: Host, what: str) -> Status:
    """The server answered what was not asked: nothing that it says can be matched to what was said to it."""
    return Status("4.5.0", f"protocol error while talking to {server(host)}: {what}", relay(host))


def not_connected(host: Host, error: OSError) -> Status:
    """No connection: as strerror has it. The log's relay= is `none`, since nobody was reached."""
    if isinstance(error, SourceError):
        return Status("4.4.0", "server configuration error")
    why = os.strerror(error.errno) if error.errno else str(error)
    return Status("4.4.1", f"connect to {relay(host)}: {why}")


def is_loop(status: Status) -> bool:
    """Mail would come back to this system (RFC 3463 X.4.6)."""
    return status.code[1:] == ".4.6"


def loops(host: Host, nexthop: str) -> Status:
    """RFC 5321 6.3; `best`: no other server could be tried, and ever will be."""
    return Status("5.4.6" if host.best else "4.4.6", f"mail for {nexthop} loops back to myself", relay(host))


def too_big(host: Host, size: int, limit: int) -> Status:
    return Status("5.3.4", f"message size {size} exceeds size limit {limit} of server {server(host)}", relay(host))


def no_smtputf8(host: Host) -> Status:
    return Status("5.6.7", f"SMTPUTF8 is required, but was not offered by host {server(host)}", relay(host))


def tls_not_offered(host: Host) -> Status:
    return Status("4.7.4", f"TLS is required, but was not offered by host {server(host)}", relay(host))


def tls_not_available(host: Host) -> Status:
    return Status("4.7.5", "TLS is required, but our TLS engine is unavailable", relay(host))


def tls_failed(host: Host) -> Status:
    return Status("4.7.5", "Cannot start TLS: handshake failure", relay(host))


def verification_failed(host: Host, why: str) -> str:
    return f"certificate verification failed for {relay(host)}: {why}"


def not_verified(host: Host) -> Status:
    return Status("4.7.5", "Server certificate not verified", relay(host))


def misconfigured_tls() -> Status:
    """Of ourselves."""
    return Status("4.7.5", "client TLS configuration problem")


def lookup_failed() -> Status:
    """smtp_tls_policy_maps does not answer."""
    return Status("4.3.0", "Temporary lookup error")


def unreadable(host: Host) -> Status:
    """The body could not be read from the spool."""
    return Status("4.3.0", f"local data error while talking to {server(host)}", relay(host))


def unfit(host: Host, why: str) -> Status:
    """The content can't be converted for this server."""
    return Status("5.6.0", why, relay(host))


def unavailable() -> Status:
    """There was a destination, and no server of it could be tried."""
    return Status("4.3.0", "server unavailable or unable to receive mail")
