"""Lists and tables of every kind in the places where operators put them: who is refused, and where accepted mail goes,
beside real Postfix with the same files."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.passable import passable
from tests.realpostfix import RealPostfix, needs_postfix
from tests.talk import Session
from tests.whole import Gateway, Sink, running, until

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]

FILES = r"""
== networks
# ours
192.0.2.0/25
!198.51.100.7
198.51.100.0/24
== networks.cidr
203.0.113.0/28 x
== clients.cidr
192.0.2.66 REJECT by cidr
198.51.100.64/26 450 4.7.1 later
== clients.regexp
/^203\.0\.113\.5$/ REJECT by address
/\.dsl\.example$/ REJECT by name
/^unknown$/ DUNNO
== helo.regexp
/^\[?10\./ REJECT liar
!/\./ 450 no dot
== senders.regexp
/^bulk@/ REJECT bulk
/@(spam)\.example$/ 554 5.7.9 ${1}$1 is no good
/^([a-z]+)-bounce@/ REJECT $1 bounces
== senders
bad.example REJECT
.worse.example REJECT subdomains
user@ok.example OK
ok.example REJECT
<> OK
== recipients.regexp
if /@mx\.example\.com$/
/^no-/ REJECT no
!/^[a-z.+-]+@/ REJECT odd
endif
/^hold@/ OK
== relay
relay.example x
.sub.example x
== relay_recipients.regexp
/^[a-z]+@relay\.example$/ ok
== locals
known x
@table.example x
plus+one x
== virtual
info@mx.example.com one@relay.example, two@relay.example
@catch.example caught@relay.example
swap@mx.example.com target
plus@mx.example.com plussed@relay.example
== virtual.regexp
/^(.*)-list@mx\.example\.com$/ $1@relay.example, archive@relay.example
== transport
sink.example smtp:[127.0.0.1]:{sink}
.sink.example error:5.1.2 below the sink
user@one.example discard:
one.example error:one
== transport.regexp
/@(.*)\.gone\.example$/ error:5.1.6 $1 moved
/^relay\.example$/ error:a domain is no whole key
/@relay\.example$/ discard:whole
== canonical
old@mx.example.com new@mx.example.com
@was.example @relay.example
"""
SETTINGS = {
    "mynetworks": "127.0.0.0/8, {dir}/networks, cidr:{dir}/networks.cidr",
    "mydestination": "mx.example.com, hash:{dir}/locals, regexp:{dir}/destinations",
    "smtpd_authorized_xclient_hosts": "127.0.0.1",
    "smtpd_client_restrictions": (
        "check_client_access cidr:{dir}/clients.cidr, check_client_access regexp:{dir}/clients.regexp"
    ),
    "smtpd_helo_restrictions": "check_helo_access regexp:{dir}/helo.regexp",
    "smtpd_sender_restrictions": (
        "check_sender_access regexp:{dir}/senders.regexp, check_sender_access hash:{dir}/senders"
    ),
    "smtpd_recipient_restrictions": "check_recipient_access regexp:{dir}/recipients.regexp",
    "relay_domains": "hash:{dir}/relay, sink.example",
    "relay_recipient_maps": "regexp:{dir}/relay_recipients.regexp, static:sink",
    "local_recipient_maps": "hash:{dir}/locals",
    "virtual_alias_maps": "hash:{dir}/virtual, regexp:{dir}/virtual.regexp",
    "virtual_alias_domains": "catch.example",
    "transport_maps": "hash:{dir}/transport, regexp:{dir}/transport.regexp",
    "canonical_maps": "hash:{dir}/canonical",
    "recipient_delimiter": "+",
    "local_transport": "discard:local",
    "default_transport": "error:5.4.4 nowhere",
    "smtpd_error_sleep_time": "0",
    "smtpd_hard_error_limit": "1000",
    "smtpd_soft_error_limit": "1000",
    "smtpd_junk_command_limit": "10000",
    "smtpd_delay_open_until_valid_rcpt": "yes",
}
CLIENTS = (
    ("127.0.0.1", "localhost"), ("192.0.2.1", "in.example"), ("192.0.2.129", "out.example"),
    ("198.51.100.7", "[UNAVAILABLE]"), ("198.51.100.8", "x.dsl.example"), ("198.51.100.70", "a.example"),
    ("203.0.113.5", "fine.example"), ("203.0.113.6", "fine.example"), ("192.0.2.66", "[TEMPUNAVAIL]"),
    ("192.0.2.66", "named.example"),
)  # fmt: skip
HELOS = ("mail.example", "[10.1.1.1]", "nodot", "10.0.0.1")
SENDERS = (
    "", "a@far.example", "bulk@x.example", "x@spam.example", "ab-bounce@x.example", "u@bad.example",
    "u@sub.bad.example", "u@worse.example", "u@sub.worse.example", "user@ok.example", "user+x@ok.example",
    "other@ok.example",
)  # fmt: skip
RECIPIENTS = (
    "known@mx.example.com", "unknown@mx.example.com", "no-body@mx.example.com", "odd1@mx.example.com", "known",
    "plus+one@mx.example.com", "known+ext@mx.example.com", "info@mx.example.com", "info+x@mx.example.com",
    "any@catch.example", "any+x@catch.example", "swap@mx.example.com", "my-list@mx.example.com",
    "plus+y@mx.example.com", "abc@relay.example", "abc1@relay.example", "abc@sub.relay.example", "abc@a.sub.example",
    "u@sink.example",
    "u@below.sink.example", "user@one.example", "user+x@one.example", "other@one.example", "u@x.gone.example",
    "old@mx.example.com", "abc@was.example", "x@table.example", "hold@mx.example.com", "target@mx.example.com",
    "x@far.example", "new@mx.example.com",
)  # fmt: skip


def furnish(base: Path, sink_port: int) -> dict[str, str]:
    base.mkdir()
    passable(base)
    (base / "destinations").write_text("/^dest[0-9]+\\.example$/ x\n")
    for part in FILES.split("== ")[1:]:
        name, _, text = part.partition("\n")
        (base / name).write_text(text.replace("{sink}", str(sink_port)))
        if "." not in name and name != "networks":
            subprocess.run(["postmap", f"hash:{base}/{name}"], check=True, timeout=30)
    return {name: value.replace("{dir}", str(base)) for name, value in SETTINGS.items()}


def asked(port: int) -> list[tuple[str, ...]]:
    """What each client hears at RCPT, with each HELO, sender and recipient once."""
    cases = [(c, HELOS[0], SENDERS[1], r) for c in CLIENTS for r in ("known@mx.example.com", "x@far.example")]
    cases += [(CLIENTS[2], helo, SENDERS[1], "known@mx.example.com") for helo in HELOS]
    cases += [(CLIENTS[2], HELOS[0], sender, "known@mx.example.com") for sender in SENDERS]
    cases += [(CLIENTS[2], HELOS[0], SENDERS[1], recipient) for recipient in RECIPIENTS]
    cases += [
        (CLIENTS[1], HELOS[0], SENDERS[1], recipient)
        for recipient in (*RECIPIENTS, "x@dest7.example", "x@dest.example")
    ]
    found = []
    for (address, name), helo, sender, recipient in cases:
        session = Session(port)
        session.say(f"XCLIENT ADDR={address} NAME={name}")
        session.say(f"EHLO {helo}")
        session.say(f"MAIL FROM:<{sender}>")
        found.append((address, name, helo, sender, recipient, session.say(f"RCPT TO:<{recipient}>")))
        session.close()
    return found


def sent(port: int, log: Callable[[], str]) -> dict[str, list[str]]:
    """Where each recipient's mail ended: the log's words by the address that was given."""
    accepted = []
    for recipient in RECIPIENTS:
        session = Session(port)
        session.say("EHLO mail.example")
        session.say("MAIL FROM:<>")
        if session.say(f"RCPT TO:<{recipient}>").startswith("250"):
            session.say("DATA")
            answer = session.say(f"To: {recipient}\r\nSubject: x\r\n\r\nbody\r\n.")
            assert answer.startswith("250"), answer
            accepted.append(recipient)
        session.say("QUIT")
        session.close()

    until(lambda: log().count(": removed") + log().count("status=deferred") >= len(accepted), 40, log()[-3000:])
    found: dict[str, list[str]] = {}
    for to, _, original, relay, rest in re.findall(r": to=<(.*?)>,( orig_to=<(.*?)>,)? relay=(.*?), .*(dsn=.*)", log()):
        found.setdefault(original or to, []).append(f"{to} {relay} {rest}")
    return {name: sorted(lines) for name, lines in found.items()}


def test_the_same_as_postfix(tmp_path: Path) -> None:
    sink = Sink()
    settings = furnish(tmp_path / "tables", sink.port)
    (tmp_path / "us").mkdir()
    postfix = RealPostfix(tmp_path, sink.port, **settings)
    postfix.start()
    try:
        with running(Gateway(tmp_path / "us", sink.port, **settings)) as gateway:
            heard = asked(gateway.port), asked(postfix.port)
            gone = sent(gateway.port, gateway.log), sent(postfix.port, postfix.log)
    finally:
        postfix.stop()
        sink.close()
    different = [pair for pair in zip(*heard, strict=True) if pair[0] != pair[1]]
    assert different == []
    assert gone[0] == gone[1]
    assert len(set(heard[1])) > 60 and len(gone[1]) > 15
