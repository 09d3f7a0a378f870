"""Restrictions that ask name servers and policy servers. What smtpd(8) says word for word is compared in
tests/interop/test_policy_dns.py."""

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from postwarden.addressing.resolve import open_resolver
from postwarden.config.errors import ConfigError
from postwarden.mail.decision import Decision, Pending, settle
from postwarden.mail.envelope import Client
from postwarden.mail.session import Findings, SessionFacts
from postwarden.net.policy_client import Endpoint, Limits
from postwarden.net.resolver import Done
from postwarden.policy.blocklists import Zone, parse_zone, unescaped
from postwarden.policy.judge import Judge
from postwarden.policy.outside import Outside
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings
from postwarden.testing.resolver import FakeResolver
from postwarden.wire.dns import Kind
from postwarden.wire.dns_answer import Answer

ZONE = """
good.example MX 10 mx.good.example
mx.good.example A 192.0.2.55
mx.good.example AAAA 2001:db8::55
nullmx.example MX 0 .
serv.example SERVFAIL
nodata.example TXT x
7.100.51.198.bl.example A 127.0.0.2
7.100.51.198.bl.example TXT because $sender {
7.100.51.198.down.example SERVFAIL
far.example.rhs.example A 127.0.0.9
backup.example MX 5 mx.good.example
backup.example MX 10 mx.example.com
mx.example.com A 192.0.2.1
"""
STRANGER = Client("mail.far.example", "198.51.100.7", 4000, "mail.far.example", "far.example", "ESMTP")


class Servers:
    """Policy servers in memory: `answers` gives each answer in turn."""

    def __init__(self, *answers: str | None) -> None:
        self.asked: list[tuple[Endpoint, Limits, dict[str, str]]] = []
        self._answers = list(answers)
        self._instances = 0

    def server(self, endpoint: Endpoint, limits: Limits) -> "Server":
        return Server(self, endpoint, limits)

    def new_instance(self) -> str:
        self._instances += 1
        return f"i{self._instances}"

    def ask(self, endpoint: Endpoint, limits: Limits, data: bytes) -> str | None:
        lines = data.decode().removesuffix("\n\n").split("\n")
        self.asked.append(
            (endpoint, limits, {name: value for name, _, value in (line.partition("=") for line in lines)})
        )
        return self._answers.pop(0)


class Server:
    def __init__(self, servers: Servers, endpoint: Endpoint, limits: Limits) -> None:
        self._servers, self._endpoint, self._limits = servers, endpoint, limits

    def ask(self, data: bytes, instance: str, done: Callable[[str | None], None]) -> None:
        done(self._servers.ask(self._endpoint, self._limits, data))


class Place:
    def __init__(self, servers: Servers | None = None, *, dns: FakeResolver | None = None, **parameters: str) -> None:
        chosen = settings(
            **{
                "relay_domains": "relay.example",
                "local_recipient_maps": "",
                "smtpd_relay_restrictions": "reject_unauth_destination",
            }
            | parameters
        )
        tables = Tables.of(chosen)
        self.dns = dns or FakeResolver(ZONE)
        self.slept: list[float] = []
        self.servers = servers or Servers()

        async def pause(seconds: float) -> None:
            self.slept.append(seconds)

        outside = Outside(self.dns, self.dns, self.servers, pause)
        self.judge = Judge(chosen, "", tables, open_resolver(chosen, tables), outside)
        self.facts = SessionFacts(STRANGER, sender="s@good.example", findings=Findings())

    def decide(self, recipient: str = "joe@mx.example.com", **more: object) -> Decision:
        self.facts.findings.known.clear()
        facts = replace(self.facts, **more)
        return asyncio.run(settle(lambda: self.judge.recipient(facts, recipient)))

    def says(self, recipient: str = "joe@mx.example.com", **more: object) -> str:
        decision = self.decide(recipient, **more)
        return decision.verdict.value if decision.reply is None else str(decision.reply)


def recipient(words: str, **parameters: str) -> Place:
    return Place(smtpd_recipient_restrictions=words, **parameters)


@pytest.mark.parametrize(
    ("sender", "said"),
    [
        ("s@good.example", "dunno"),
        ("s@nullmx.example", "550 5.7.27 <s@nullmx.example>: Sender address rejected: Domain nullmx.example does not"),
        ("s@nx.example", "450 4.1.8 <s@nx.example>: Sender address rejected: Domain not found"),
        ("s@nodata.example", "450 4.1.8 <s@nodata.example>: Sender address rejected: Domain not found"),
        ("s@serv.example", "450 4.1.8 <s@serv.example>: Sender address rejected: Domain not found"),
        ("s@mx.example.com", "dunno"),
        ("s@[192.0.2.7]", "dunno"),
        ("", "dunno"),
    ],
)
def test_a_sender_that_can_not_be_answered(sender: str, said: str) -> None:
    assert recipient("reject_unknown_sender_domain").says(sender=sender).startswith(said)


def test_dns_that_fails_lets_nobody_in_and_the_rest_of_the_list_refuse() -> None:
    place = recipient("reject_unknown_sender_domain, reject")
    assert place.says(sender="s@serv.example").startswith("554 5.7.1")
    place = recipient("reject_unknown_sender_domain, reject", unknown_address_tempfail_action="defer")
    assert place.says(sender="s@serv.example").startswith("450 4.1.8")
    with pytest.raises(ConfigError, match="unknown_address_tempfail_action = permit"):
        recipient("reject_unknown_sender_domain", unknown_address_tempfail_action="permit")


class Forgetful(FakeResolver):
    """Answers later, and remembers nothing."""

    def lookup(self, name: str, kind: Kind, done: Done) -> None:
        self.asked.append((name, kind))

    async def query(self, name: str, kind: Kind) -> Answer:
        return self._resolve(name, kind)


def test_an_answer_without_a_ttl_is_asked_for_once() -> None:
    place = Place(
        dns=Forgetful(ZONE), smtpd_recipient_restrictions="reject_unknown_sender_domain, reject_unknown_helo_hostname"
    )
    assert place.says().startswith("450 4.7.1 <far.example>: Helo command rejected")
    assert len(place.dns.asked) == len(set(place.dns.asked)) == 4


def test_blocklists() -> None:
    place = recipient("reject_rbl_client bl.example")
    assert place.says() == (
        "554 5.7.1 Service unavailable; Client host [198.51.100.7] blocked using bl.example; because $sender {"
    )
    assert recipient("reject_rbl_client bl.example=127.0.0.[3..9]").says() == "dunno"
    assert recipient("reject_rhsbl_helo rhs.example=127.0.0.9").says().startswith("554 5.7.1 Service unavailable; Helo")


def test_a_blocklist_that_is_down_blocks_nobody_and_is_told_of() -> None:
    decision = recipient("reject_rbl_client down.example").decide()
    assert decision.reply is None
    assert "RBL lookup error" in decision.effects[0].note


def test_an_allowlist_opens_no_relay() -> None:
    at = Place(smtpd_relay_restrictions="permit_dnswl_client bl.example, reject_unauth_destination")
    assert at.says() == "permit"
    assert at.says("x@elsewhere.example") == "554 5.7.1 <x@elsewhere.example>: Relay access denied"
    assert recipient("permit_dnswl_client down.example, reject").says().startswith("450 4.7.1")


@pytest.mark.parametrize(
    "bad", ["x=", "x=127.0.0", "x=1.2.3.4.5", "x=1.2.3.256", "x=1.2.3.[9..1]", "x=a", "x=1.2.3.[", "x=1..2.3.4"]
)
def test_a_filter_that_is_none(bad: str) -> None:
    with pytest.raises(ConfigError, match=r"main\.cf:3?\d*: bad filter in x="):
        recipient(f"reject_rbl_client {bad}")


def test_filters() -> None:
    zone = parse_zone("x=127.0.[0;2].[1..3;9]", settings().origin("myhostname"))
    listed = [text for text in ("127.0.0.1", "127.0.2.9", "127.0.1.1", "127.0.0.4") if zone.counts(text)]
    assert listed == ["127.0.0.1", "127.0.2.9"] and Zone("x").counts("10.0.0.1")
    assert unescaped(r"\t\40a\\b") == "\t a\\b"


def test_templates() -> None:
    with pytest.raises(ConfigError, match="bad default rbl reply template"):
        recipient("reject_rbl_client bl.example", default_rbl_reply="$rbl_code $nosuch")
    place = recipient("reject_rbl_client bl.example", default_rbl_reply="521 5.1.1 $sender|$recipient_domain")
    assert place.says() == "521 5.0.0 s@good.example|mx.example.com"


def test_the_hosts_of_a_domain() -> None:
    table = "inline:{{mx.good.example=REJECT by name} {192.0.2=REJECT by address} {nx.example=OK}}"
    assert recipient(f"check_sender_mx_access {table}").says().endswith("Sender address rejected: by name")
    assert recipient(f"check_sender_a_access {table}").says(sender="s@mx.good.example").endswith("by address")
    place = recipient(f"check_sender_mx_access {table}")
    assert place.says(sender="s@nx.example") == "451 4.3.5 Server configuration error", "an OK opens the door"
    assert place.says(sender="s@serv.example") == "dunno"


def test_a_domain_of_a_thousand_hosts() -> None:
    place = recipient("check_sender_mx_access inline:{203.0.113.200=REJECT}")
    for n in range(200):
        place.dns.zone.add(f"many.example MX {n} m{n}.many.example")
        place.dns.zone.add(f"m{n}.many.example A 203.0.113.{n + 1}")
    assert place.says(sender="s@many.example") == "dunno"
    assert len(place.dns.asked) < 210


def test_mx_backup() -> None:
    at = Place(smtpd_relay_restrictions="permit_mx_backup, reject_unauth_destination")
    assert at.says("x@backup.example") == "permit"
    assert at.says("x@good.example") == "554 5.7.1 <x@good.example>: Relay access denied"
    assert at.says("x%y.example@backup.example").startswith("554")
    at = Place(
        smtpd_relay_restrictions="permit_mx_backup, reject_unauth_destination",
        permit_mx_backup_networks="203.0.113.0/24",
    )
    assert at.says("x@backup.example").startswith("554")


def test_logins() -> None:
    words = "reject_sender_login_mismatch"
    place = recipient(words, smtpd_sasl_auth_enable="yes", smtpd_sender_login_maps="inline:{s@good.example=joe}")
    assert place.says() == "553 5.7.1 <s@good.example>: Sender address rejected: not logged in"
    assert place.says(client=replace(STRANGER, login="JOE")) == "dunno"
    ann = replace(STRANGER, login="ann")
    assert place.says(client=ann) == "553 5.7.1 <s@good.example>: Sender address rejected: not owned by user ann"
    assert place.says(sender="other@good.example") == "dunno"
    assert place.says(client=ann, sender="other@good.example").startswith("553")
    off = recipient(words, smtpd_sender_login_maps="static:joe").decide()
    assert off.reply is None and "no SASL support" in off.effects[0].note


def test_warn_if_reject() -> None:
    decision = recipient("warn_if_reject reject_rbl_client bl.example").decide()
    assert decision.reply is None
    assert [effect.action for effect in decision.effects] == ["reject_warning"]
    assert recipient("warn_if_reject check_sender_access inline:{good.example=nosuch}").says().startswith("451 4.3.5")


def test_sleep() -> None:
    place = recipient("sleep 3, sleep 3, reject")
    assert place.says().startswith("554") and place.slept == [3, 3]
    with pytest.raises(ConfigError, match="followed by number"):
        recipient("sleep x")


def test_what_is_not_here_puts_off_and_is_told_of() -> None:
    place = recipient("reject_maps_rbl, permit")
    decision = place.decide()
    assert str(decision.reply) == "451 4.3.5 Server configuration error"
    assert "reject_maps_rbl" in decision.effects[0].note and "reject_maps_rbl" in place.judge.notes[0].text


def test_a_policy_server_is_asked() -> None:
    servers = Servers("REJECT no")
    place = Place(servers, smtpd_recipient_restrictions="check_policy_service inet:[::1]:10023")
    assert place.says(size=77, server_address="192.0.2.1", server_port=25) == (
        "554 5.7.1 <joe@mx.example.com>: Recipient address rejected: no"
    )
    endpoint, limits, attributes = servers.asked[0]
    assert (endpoint.host, endpoint.port, limits) == ("::1", 10023, Limits())
    assert attributes["protocol_state"] == "RCPT" and attributes["recipient"] == "joe@mx.example.com"
    assert attributes["instance"] == "i1" and attributes["size"] == "77" and attributes["client_port"] == "4000"
    assert attributes["stress"] == ""


def test_a_policy_server_hears_of_stress() -> None:
    servers = Servers("DUNNO")
    Place(servers, smtpd_recipient_restrictions="check_policy_service inet:127.0.0.1:9").says(stress=True)
    assert servers.asked[0][2]["stress"] == "yes"


def test_each_question_is_asked_once_however_often_it_is_decided() -> None:
    servers = Servers("DUNNO", "DUNNO", "DUNNO")
    words = "check_policy_service unix:private/a"
    place = Place(servers, smtpd_client_restrictions=words, smtpd_recipient_restrictions=f"{words}, {words}, sleep 1")
    assert place.says() == "dunno" and len(servers.asked) == 3
    assert servers.asked[0][0].path.endswith("/private/a")
    assert {attributes["instance"] for _, _, attributes in servers.asked} == {"i1"}


def test_a_policy_server_that_does_not_answer() -> None:
    words = "check_policy_service inet:127.0.0.1:9"
    assert Place(Servers(None), smtpd_recipient_restrictions=words).says() == (
        "451 4.3.5 <joe@mx.example.com>: Recipient address rejected: Server configuration problem"
    )
    own = "check_policy_service { inet:127.0.0.1:9, timeout=10s { default_action = DUNNO } policy_context=sub }"
    servers = Servers(None)
    assert Place(servers, smtpd_recipient_restrictions=own).says() == "dunno"
    assert servers.asked[0][1].timeout == 10 and servers.asked[0][2]["policy_context"] == "sub"


@pytest.mark.parametrize(
    "argument",
    [
        "", "hash:x", "inet:x", "inet::9", "inet:x:99999", "127.0.0.1:9", "unix:", "{ }", "{ inet:x:9 {x} }",
        "{ inet:x:9 nosuch=1 }", "{ inet:x:9 try_limit=0 }", "{ inet:x:9 timeout=soon }",
    ],
)  # fmt: skip
def test_a_policy_server_that_can_not_be_one(argument: str) -> None:
    with pytest.raises(ConfigError):
        recipient(f"check_policy_service {argument}")


def test_what_a_policy_server_says_is_an_action() -> None:
    for answer, said in (
        ("", "dunno"),
        ("OK", "permit"),
        ("defer_if_permit later", "450 4.7.1 <joe@mx.example.com>: Recipient address rejected: later"),
        ("check_client_access hash:/etc/passwd", "451 4.3.5 Server configuration error"),
        ("no such action", "451 4.3.5 Server configuration error"),
    ):
        place = Place(Servers(answer), smtpd_recipient_restrictions="check_policy_service inet:127.0.0.1:9")
        assert place.says() == said


def test_nothing_is_asked_where_nothing_is_configured() -> None:
    place = Place()
    assert place.judge.recipient(place.facts, "joe@mx.example.com").reply is None
    assert place.dns.asked == [] and place.facts.findings.known == {}
    with pytest.raises(Pending):
        Place(smtpd_recipient_restrictions="sleep 1").judge.recipient(place.facts, "joe@mx.example.com")


@pytest.mark.parametrize(("hosts", "said"), [(98, "permit"), (99, "554 5.7.1")])
def test_the_servers_of_a_backup_domain_are_asked_for_in_bounds(hosts: int, said: str) -> None:
    many = "".join(f"many.example MX 20 h{number}.victim.example\n" for number in range(hosts))
    own = "many.example MX 5 mx.good.example\nmany.example MX 10 mx.example.com\n"
    dns = FakeResolver(ZONE + own + many)
    at = Place(
        dns=dns, smtpd_relay_restrictions="permit_mx_backup, reject_unauth_destination", inet_interfaces="192.0.2.1"
    )
    assert at.says("x@many.example").startswith(said)
