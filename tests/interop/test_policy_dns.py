"""Restrictions that ask DNS, and every action of access tables, beside the real smtpd(8): each reply and each log line.
Both see the same zone."""

import contextlib
import os
import re
import smtplib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import unified_diff
from pathlib import Path

import pytest
from msgspec import Struct
from tests.nameserver import NameServer
from tests.ports import free_port
from tests.rewrite_service import _MASTER_PROGRAM, Judges, needs_postfix
from tests.whole import until

from postwarden.testing.reception import Reception

pytestmark = [needs_postfix, pytest.mark.postfix, pytest.mark.slow]

SERVER = "127.0.0.77"
ZONE = """
mail.far.example A 198.51.100.7
good.example MX 10 mx.good.example
mx.good.example A 192.0.2.55
mx.good.example AAAA 2001:db8::55
good.example NS ns.good.example
ns.good.example A 198.51.100.53
sub.good.example A 192.0.2.56
aonly.example A 192.0.2.57
aaaaonly.example AAAA 2001:db8::57
nullmx.example MX 0 .
emptymx.example MX 10 nowhere.example
mxnx.example MX 10 gone.nx.example
loc.example MX 10 localhost
nodata.example TXT hello
serv.example SERVFAIL
mxserv.example MX:SERVFAIL
mxserv.example A 192.0.2.3
mxtoserv.example MX 10 serv.example
mxtoserv.example NS serv.example
badmx.example MX 10 bad!name.example
badmx.example A 192.0.2.4
numeric.example MX 10 192.0.2.9
cname.example CNAME good.example
7.100.51.198.bl.example A 127.0.0.2
7.100.51.198.bl.example TXT listed see http://bl.example
7.100.51.198.two.example A 127.0.0.2
7.100.51.198.two.example A 127.0.0.4
7.100.51.198.servbl.example SERVFAIL
7.100.51.198.txtserv.example A 127.0.0.2
7.100.51.198.txtserv.example TXT:SERVFAIL
7.100.51.198.weird.example A 10.0.0.2
7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example A 127.0.0.9
mail.far.example.rhs.example A 127.0.0.2
good.example.rhs.example A 127.0.0.2
good.example.rhs.example TXT no good
backup.example MX 5 primary.example
backup.example MX 10 mine.example
primary.example A 203.0.113.5
mine.example A 127.0.0.1
mineonly.example MX 10 mine.example
notmine.example MX 10 primary.example
servbackup.example MX 5 serv.example
servbackup.example MX 10 mine.example
nullmxserv.example MX:SERVFAIL
"""
BASE = {
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "mynetworks": "127.0.0.0/8 192.0.2.0/24",
    "relay_domains": "rel.example",
    "local_recipient_maps": "inline:{{known=x} {root=x}}",
    "virtual_alias_domains": "virt.example",
    "virtual_alias_maps": "inline:{known@virt.example=x@far.example}",
    "recipient_delimiter": "+",
    "smtpd_error_sleep_time": "0",
    "smtpd_hard_error_limit": "100000",
    "smtpd_soft_error_limit": "100000",
    "smtpd_junk_command_limit": "100000",
    "smtpd_peername_lookup": "no",
    "smtpd_authorized_xclient_hosts": "0.0.0.0/0",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
}
FAR = ("mail.far.example", "198.51.100.7")
NAMELESS = ("unknown", "198.51.100.7")
SIX = ("six.far.example", "2001:db8::7")
DOMAINS = """
good.example sub.good.example aonly.example nullmx.example emptymx.example mxnx.example loc.example nodata.example
serv.example mxserv.example mxtoserv.example badmx.example numeric.example cname.example nx.example [1.2.3.4]
[192.0.2.55] host
""".split()  # noqa: SIM905
SERVERS = (
    "inline:{{192.0.2=REJECT by net} {mx.good.example=REJECT mxname} {ns.good.example=550 5.7.1 nsname}"
    " {127.0.0.1=OK} {localhost=OK} {192.0.2.9=DEFER x} {aonly.example=REJECT the name} {nx.example=REJECT gone}}"
)


class Talk(Struct, frozen=True):
    client: tuple[str, str] = FAR
    helo: str = "good.example"
    sender: str = "u@good.example"
    recipients: tuple[str, ...] = ("known",)
    login: str = ""


FROM_ALL = tuple(Talk(sender=f"u@{domain}") for domain in DOMAINS)
HELO_ALL = tuple(Talk(helo=domain) for domain in (*DOMAINS, "[IPv6:::1]", "[1.2.3", "bad_", "dotted.example."))
TO_ALL = (Talk(("x.example", "198.51.100.9"), recipients=tuple(f"u@{domain}" for domain in DOMAINS)),)
ONE = (Talk(),)
CLIENTS = (Talk(), Talk(NAMELESS), Talk(SIX), Talk(sender=""), Talk(recipients=("u@far.example",)))
NAMED = tuple(
    Talk((name, "198.51.100.9")) for name in ("good.example", "unknown", "nx.example", "aonly.example", "loc.example")
)
BACKUP = tuple(
    f"u@{domain}.example" for domain in ("backup", "mineonly", "notmine", "servbackup", "serv", "nx", "rel", "nullmx")
)


def recipient(words: str) -> dict[str, str]:
    return {"smtpd_recipient_restrictions": words}


LOGINS = tuple(
    Talk(sender=sender, login=login)
    for sender in ("owned@good.example", "both@good.example", "free@good.example", "")
    for login in ("", "joe", "JOE", "ann")
)


def mismatch(kind: str) -> tuple[tuple[Talk, ...], dict[str, str]]:
    return LOGINS, {
        "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": "auth",
        "smtpd_sender_login_maps": "inline:{{owned@good.example=joe} {both@good.example=joe, ann}}",
        "smtpd_sender_restrictions": f"reject_{kind}sender_login_mismatch",
        **recipient("check_sasl_access inline:{{ann=WARN it is ann}}, permit_sasl_authenticated, permit"),
    }  # fmt: skip


VARIANTS: Mapping[str, tuple[tuple[Talk, ...], dict[str, str]]] = {
    "sender domain": (FROM_ALL, {"smtpd_sender_restrictions": "reject_unknown_sender_domain"}),
    "sender domain at MAIL": (FROM_ALL, {
        "smtpd_delay_reject": "no", "smtpd_sender_restrictions": "reject_unknown_sender_domain",
    }),
    "sender domain, at once": (FROM_ALL, {
        "smtpd_sender_restrictions": "reject_unknown_sender_domain",
        "unknown_address_reject_code": "550", "unknown_address_tempfail_action": "defer",
    }),
    "recipient domain": (TO_ALL, {
        "smtpd_relay_restrictions": "permit_mynetworks, reject_unknown_recipient_domain, permit",
        **recipient("reject_unauth_destination"),
    }),
    "HELO": (HELO_ALL, {"smtpd_helo_restrictions": "reject_unknown_helo_hostname"}),
    "HELO, at once": (HELO_ALL, {
        "smtpd_delay_reject": "no", "smtpd_helo_restrictions": "reject_unknown_helo_hostname",
        "unknown_hostname_reject_code": "550", "unknown_helo_hostname_tempfail_action": "defer",
    }),
    "sender mx": (FROM_ALL, {"smtpd_sender_restrictions": f"check_sender_mx_access {SERVERS}"}),
    "sender ns": (FROM_ALL, {"smtpd_sender_restrictions": f"check_sender_ns_access {SERVERS}"}),
    "sender a": (FROM_ALL, {"smtpd_sender_restrictions": f"check_sender_a_access {SERVERS}"}),
    "HELO mx": (HELO_ALL, {"smtpd_helo_restrictions": f"check_helo_mx_access {SERVERS}"}),
    "HELO ns": (HELO_ALL, {"smtpd_helo_restrictions": f"check_helo_ns_access {SERVERS}"}),
    "HELO a": (HELO_ALL, {"smtpd_helo_restrictions": f"check_helo_a_access {SERVERS}"}),
    "recipient mx": (TO_ALL, recipient(f"check_recipient_mx_access {SERVERS}") | {"smtpd_relay_restrictions":
        "permit_mynetworks, check_recipient_ns_access static:dunno, defer_if_permit, permit"}),
    "client mx": (NAMED, {
        "smtpd_client_restrictions": f"check_client_mx_access {SERVERS}, check_client_a_access {SERVERS}",
    }),
    "reverse client": (NAMED, {
        "smtpd_client_restrictions": f"check_reverse_client_hostname_mx_access {SERVERS}"
            f" check_reverse_client_hostname_a_access {SERVERS}, check_reverse_client_hostname_ns_access {SERVERS}",
    }),
    "reverse client access": (CLIENTS, {"smtpd_client_restrictions":
        "check_reverse_client_hostname_access inline:{{far.example=OK} {six.far.example=REJECT six} {unknown=DEFER}}"}),
    "dnsbl": (CLIENTS, recipient("reject_rbl_client bl.example")),
    "dnsbl, answer": (CLIENTS, recipient("reject_rbl_client two.example=127.0.0.4")),
    "dnsbl, other answer": (CLIENTS, recipient("reject_rbl_client two.example=127.0.0.[5..9]")),
    "dnsbl, one of": (CLIENTS, recipient("reject_rbl_client two.example=127.0.[0..3].[1;4;9]")),
    "dnsbl down": (CLIENTS, recipient("reject_rbl_client servbl.example")),
    "dnsbl, no reason": (CLIENTS, recipient("reject_rbl_client txtserv.example")),
    "dnsbl, odd answer": (CLIENTS, recipient("reject_rbl_client weird.example")),
    "dnsbl at connect": (ONE, {
        "smtpd_delay_reject": "no", "smtpd_client_restrictions": "permit_mynetworks reject_rbl_client bl.example",
    }),
    "rhsbl client": (CLIENTS, recipient("reject_rhsbl_client rhs.example")),
    "rhsbl reverse": (CLIENTS, recipient("reject_rhsbl_reverse_client rhs.example")),
    "rhsbl helo": (HELO_ALL, recipient("reject_rhsbl_helo rhs.example")),
    "rhsbl sender": (FROM_ALL, recipient("reject_rhsbl_sender rhs.example")),
    "rhsbl recipient": (TO_ALL, {
        "smtpd_relay_restrictions": "permit",
        **recipient("reject_rhsbl_recipient rhs.example, reject_unauth_destination"),
    }),
    "rhsbl at sender": (FROM_ALL[:3], {"smtpd_sender_restrictions": "reject_rhsbl_sender rhs.example=127.0.0.2"}),
    "dnswl": (CLIENTS, recipient("permit_dnswl_client bl.example, reject")),
    "dnswl, relay": (CLIENTS, {
        "smtpd_relay_restrictions": "permit_dnswl_client bl.example, reject_unauth_destination",
    }),
    "dnswl at connect": (CLIENTS, {
        "smtpd_delay_reject": "no",
        "smtpd_client_restrictions": "permit_mynetworks, permit_dnswl_client bl.example, reject",
    }),
    "rhswl": (CLIENTS, recipient("permit_rhswl_client rhs.example, reject")),
    "dnswl down": (CLIENTS, recipient("permit_dnswl_client servbl.example, reject")),
    "reply maps": (CLIENTS, {
        "rbl_reply_maps": "texthash:$config_directory/replies", **recipient("reject_rbl_client bl.example"),
    }),
    "reply of unknown names": (CLIENTS, {
        "rbl_reply_maps": "inline:{bl.example=x$$nosuch}", **recipient("reject_rbl_client bl.example"),
    }),
    "reply of mistakes": (CLIENTS, {
        "default_rbl_reply": "REJECT no $rbl_what", **recipient("reject_rbl_client bl.example"),
    }),
    "other code": (CLIENTS, {"maps_rbl_reject_code": "450", **recipient("reject_rbl_client bl.example")}),
    "warn": (CLIENTS, recipient("warn_if_reject reject_rbl_client bl.example, reject_rhsbl_helo rhs.example")),
    "warn of a class": (CLIENTS, {
        "smtpd_restriction_classes": "mine", "mine": "reject_unknown_sender_domain, reject, permit_mynetworks, permit",
        **recipient("warn_if_reject mine, reject"),
    }),
    "warn of what is put off": (CLIENTS, recipient("warn_if_reject defer_if_permit, warn_if_reject defer_if_reject")),
    "mx backup": ((Talk(("x.example", "198.51.100.9"), recipients=BACKUP),), {
        "smtpd_relay_restrictions": "permit_mx_backup, reject_unauth_destination",
    }),
    "mx backup, networks": ((Talk(("x.example", "198.51.100.9"), recipients=BACKUP),), {
        "smtpd_relay_restrictions": "permit_mx_backup, reject_unauth_destination",
        "permit_mx_backup_networks": "203.0.113.0/24",
    }),
    "mx backup, other networks": ((Talk(("x.example", "198.51.100.9"), recipients=BACKUP),), {
        "smtpd_relay_restrictions": "permit_mx_backup, reject_unauth_destination",
        "permit_mx_backup_networks": "203.0.114.0/24",
    }),
    "login mismatch": mismatch(""),
    "login mismatch, known addresses": mismatch("known_"),
    "login mismatch, logged in": mismatch("authenticated_"),
    "login mismatch, strangers": mismatch("unauthenticated_"),
    "logins off": (ONE, {
        "smtpd_sender_login_maps": "static:joe", "smtpd_sender_restrictions": "reject_sender_login_mismatch",
    }),
    "certificates": (CLIENTS, recipient(
        "permit_tls_clientcerts, permit_tls_all_clientcerts, check_ccert_access static:reject, reject"
    )),
    "sleep": (ONE, recipient("sleep 0, reject")),
}  # fmt: skip
ACTIONS = (
    """
FILTER|FILTER nocolon|FILTER smtp:|FILTER smtp:[127.0.0.1]:9|filter smtp:x|REDIRECT|REDIRECT noat|REDIRECT a@b.example|\
PREPEND|PREPEND X-Foo: bar|PREPEND nocolon|PREPEND bad name: x|PREPEND X-A:|PREPEND X-Foo:nospace|BCC|BCC noat|\
BCC a@b.example|HOLD|HOLD why|DISCARD|DISCARD why|WARN|WARN why  twice|INFO|INFO why|DEFER_IF_PERMIT|\
DEFER_IF_PERMIT 5.1.1 x|DEFER_IF_REJECT|warn_if_reject reject|warn_if_reject, reject, permit|\
reject_rbl_client bl.example|reject_unknown_sender_domain|check_client_access hash:/x|sleep 0|\
REJECT|REJECT text|OK|DUNNO|450 4.7.9 x|defer_if_permit|permit_mynetworks,reject
""".strip()
    .replace("\\\n", "")
    .split("|")
)
EARLY = "\n".join(f"c{n}.example {action}" for n, action in enumerate(ACTIONS))
ACTING = tuple(Talk((f"c{n}.example", "198.51.100.9"), recipients=("known", "root")) for n in range(len(ACTIONS)))
ACTED = "check_client_access texthash:$config_directory/actions"
VARIANTS = {
    **VARIANTS,
    "actions": (ACTING, recipient(ACTED)),
    "actions, then reject": (ACTING, recipient(f"{ACTED}, reject")),
    "actions at connect": (ACTING, {"smtpd_delay_reject": "no", "smtpd_client_restrictions": ACTED}),
    "actions at MAIL": (ACTING, {"smtpd_delay_reject": "no", "smtpd_sender_restrictions": ACTED}),
    "actions at DATA": (ACTING, {"smtpd_data_restrictions": ACTED}),
    "actions under warning": (ACTING, recipient(f"warn_if_reject {ACTED}, reject")),
}  # fmt: skip
FILES = {
    "replies": "bl.example $rbl_code 5.1.2 $client|$client_address|$client_name|$helo_name|$rbl_what|$rbl_class|"
    "$rbl_domain|$rbl_reason|$recipient|$recipient_domain|$recipient_name|$sender|$sender_domain|"
    "$sender_name|$reverse_client_name|${client_port?port}|${rbl_reason?yes}|${rbl_reason:no}\n",
    "actions": EARLY + "\n",
}
_QUIET = re.compile(
    r"connect from|disconnect from|lost connection|: client=|mapping DSN status|numeric domain name|"
    r"valid_hostname: invalid|check_ccert_access is requested|do not specify lookup tables inside|"
    r"define a restriction class|unknown macro name|resource data|"
    r"for badmx.example: |for dotted.example.: "
)


class Theirs(Judges):
    """The real smtpd, a service for each variant; resolv.conf names the server of the zone."""

    def __init__(self, base: Mapping[str, str]) -> None:
        super().__init__(**base)
        self.ports: dict[str, int] = {}
        self.kept: list[socket.socket] = []
        lines = []
        ports = iter(free_port, 0)
        for number, (name, (_, parameters)) in enumerate(VARIANTS.items()):
            port = self.ports[name] = next(port for port in ports if port not in self.ports.values())
            lines.append(f"127.0.0.1:{port} inet n - n - - smtpd\n -o syslog_name=v{number}\n")
            lines += [f" -o {{ {key} = {value} }}\n" for key, value in parameters.items()]
        for name, text in FILES.items():
            (self.etc / name).write_text(text)
        with (self.etc / "master.cf").open("a") as master:
            master.writelines(lines)

    def __enter__(self) -> "Theirs":
        self._make_queue()
        self._auth()
        conf = self._base / "resolv.conf"
        conf.write_text(f"nameserver {SERVER}\noptions timeout:1 attempts:1\n")
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        words = ["unshare", "--mount", "sh", "-c", script, conf, _MASTER_PROGRAM, "-c", self.etc, "-d"]
        environment = {**os.environ, "MAIL_CONFIG": str(self.etc)}
        self._master = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
        until((self.queue / "private" / "rewrite").exists)
        return self

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._server.shutdown(socket.SHUT_RDWR)
        for sock in self.kept:
            sock.close()

    def _auth(self) -> None:
        """As much of Dovecot's login server as smtpd(8) wants before it says that logins are possible."""
        path = self.queue / "auth"
        server = self._server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        path.chmod(0o666)
        server.listen(50)

        def serve() -> None:
            with server, contextlib.suppress(OSError):
                while True:
                    sock, _ = server.accept()
                    sock.sendall(b"VERSION\t1\t0\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n")
                    self.kept.append(sock)

        threading.Thread(target=serve, daemon=True).start()

    def said(self, name: str) -> list[str]:
        """The log of a variant, once it is over."""
        number = list(VARIANTS).index(name)

        def lines() -> list[str]:
            return re.findall(rf" v{number}/smtpd\[\d+\]: (.*)", self.log())

        until(lambda: said_all(lines()))
        return lines()


@pytest.fixture(scope="module")
def theirs() -> Iterator[Theirs]:
    server = NameServer(ZONE, SERVER)
    with contextlib.closing(server), Theirs(BASE) as running:
        yield running


@pytest.mark.parametrize("name", VARIANTS)
def test_every_reply_and_log_line_is_postfix_own(name: str, theirs: Theirs) -> None:
    talks, parameters = VARIANTS[name]
    expected = list(their_replies(theirs.ports[name], talks))
    said = once(map(plain, theirs.said(name)))
    reception = Reception(zone=ZONE, **(BASE | with_files(parameters, theirs.etc)))
    found = list(our_replies(reception, talks))
    log = [line.removeprefix("smtpd: ") for line in reception.log if line.startswith("smtpd: ")]
    logged = once(map(plain, log))
    wrong = differences(expected, found) + differences(said, logged)
    assert not wrong, wrong


def differences(theirs: list[str], ours: list[str]) -> str:
    lines = unified_diff(theirs, ours, "Postfix", "Postwarden", lineterm="", n=0)
    return "\n".join(["", *lines]) if theirs != ours else ""


def said_all(lines: list[str]) -> bool:
    return "disconnect" in "".join(lines[-1:])


def connected(port: int) -> smtplib.SMTP:
    """The master may not listen yet."""
    found: list[smtplib.SMTP] = []

    def connects() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            found.append(smtplib.SMTP("127.0.0.1", port, timeout=20))
        return bool(found)

    until(connects)
    found[0].ehlo("me")
    return found[0]


def with_files(parameters: dict[str, str], etc: Path) -> dict[str, str]:
    return {name: value.replace("$config_directory", str(etc)) for name, value in parameters.items()}


def plain(line: str) -> str:
    line = re.sub(r"^[0-9A-F]{8,}: ", "ID: ", line)
    # What a client is judged for, at connection time and at XCLIENT, is one and the same.
    return line.replace(": XCLIENT from", ": CONNECT from")


def once(lines: Iterable[str]) -> list[str]:
    """Postfix remembers for as long as a process lives that a list can't be asked."""
    kept = [line for line in lines if not _QUIET.search(line)]
    return [x for at, x in enumerate(kept) if "RBL lookup error" not in x or x not in kept[:at]]


def commands(talk: Talk) -> Iterator[str]:
    name, address = talk.client
    address = f"IPV6:{address}" if ":" in address else address
    given = "[UNAVAILABLE]" if name == "unknown" else name
    login = f" LOGIN={talk.login}" if talk.login else ""
    yield f"XCLIENT NAME={given} ADDR={address} REVERSE_NAME={given}{login}"
    yield f"EHLO {talk.helo}"
    yield f"MAIL FROM:<{talk.sender}>"
    for who in talk.recipients:
        yield f"RCPT TO:<{who}>"


def their_replies(port: int, talks: tuple[Talk, ...]) -> Iterator[str]:
    smtp = connected(port)

    def say(command: str) -> str:
        code, text = smtp.docmd(command)
        return "ok" if code < 400 else f"{code} {text.decode()}"

    with contextlib.suppress(smtplib.SMTPServerDisconnected):
        for talk in talks:
            if smtp.sock is None:
                smtp = connected(port)
            reply = ""
            for reply in replies(talk, say):
                yield reply
            if "XCLIENT" in reply:
                # Refused; Postfix goes on talking, to refuse whatever comes.
                smtp.close()
            if smtp.sock is not None:
                say("RSET")
    smtp.close()


def our_replies(reception: Reception, talks: tuple[Talk, ...]) -> Iterator[str]:
    peer = reception.connect()
    peer.say("EHLO me")

    def say(command: str) -> str:
        reply = peer.say(command)
        for _ in range(3):
            if not reply:
                reception.clock.advance(1)
                reply = peer.hear()
        last = reply.rstrip("\r\n").rpartition("\r\n")[2]
        return "ok" if last and last[0] in "23" else last

    for talk in talks:
        yield from replies(talk, say)
        say("RSET")
        if peer.session.over:
            peer = reception.connect()
            peer.say("EHLO me")
    peer.say("QUIT")


def replies(talk: Talk, say: Callable[[str], str]) -> Iterator[str]:
    accepted = False
    for command in commands(talk):
        reply = say(command)
        yield f"{talk.client[0]} {talk.helo} {talk.sender}: {command}: {reply}"
        if reply != "ok" and not command.startswith("RCPT"):
            return
        accepted = accepted or (command.startswith("RCPT") and reply == "ok")
    if accepted:
        reply = say("DATA")
        yield f"{talk.client[0]}: DATA: {reply}"
        if reply == "ok":
            say(".")
