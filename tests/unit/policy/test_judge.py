from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from postwarden.addressing.resolve import AddressClass, AddressResolver, open_resolver
from postwarden.config.errors import ConfigError
from postwarden.mail.decision import Decision, Verdict
from postwarden.mail.envelope import Client
from postwarden.mail.session import SessionFacts, TlsFacts
from postwarden.policy.judge import Judge
from postwarden.policy.vocabulary import UNAVAILABLE, VOCABULARY
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings

STRANGER = Client("mail.far.example", "198.51.100.7", helo="mail.far.example", reverse_name="mail.far.example")
FRIEND = Client("desk.example.com", "192.0.2.9", helo="desk")
DOMAINS = {"relay_domains": "relay.example", "local_recipient_maps": "inline:{{joe=x} {ann=x}}"}


def judge_and_resolver(**parameters: str) -> tuple[Judge, AddressResolver]:
    chosen = settings(**(DOMAINS | {"mynetworks": "192.0.2.0/24"} | parameters))
    tables = Tables.of(chosen)
    resolver = open_resolver(chosen, tables)
    return Judge(chosen, "", tables, resolver), resolver


def judge(**parameters: str) -> Judge:
    return judge_and_resolver(**parameters)[0]


def facts(client: Client = STRANGER, sender: str = "s@far.example", **more: object) -> SessionFacts:
    return replace(SessionFacts(client, sender=sender), **more)


def said(decision: Decision) -> str:
    return decision.verdict.value if decision.reply is None else str(decision.reply)


def test_a_stranger_may_reach_our_users_and_nobody_else() -> None:
    at = judge()
    assert at.recipient(facts(), "joe@mx.example.com").verdict is not Verdict.REJECT
    assert said(at.recipient(facts(), "x@relay.example")) == "dunno"
    assert said(at.recipient(facts(), "x@far.example")) == "454 4.7.1 <x@far.example>: Relay access denied"
    assert said(at.recipient(facts(), "nobody@mx.example.com")) == (
        "550 5.1.1 <nobody@mx.example.com>: Recipient address rejected: User unknown in local recipient table"
    )


def test_our_own_networks_and_users_with_a_login_may_relay() -> None:
    assert said(judge().recipient(facts(FRIEND), "x@far.example")) == "permit"
    named = facts(replace(STRANGER, login="joe"))
    assert said(judge(smtpd_sasl_auth_enable="yes").recipient(named, "x@far.example")) == "permit"
    assert judge().recipient(named, "x@far.example").verdict is Verdict.DEFER, "XCLIENT's word where logins are off"


def test_a_permit_of_the_recipient_list_does_not_open_the_relay() -> None:
    at = judge(smtpd_recipient_restrictions="permit")
    assert at.recipient(facts(), "x@far.example").verdict is Verdict.DEFER
    table = "check_recipient_access inline:{far.example=OK}"
    assert (
        judge(smtpd_sender_restrictions="permit", smtpd_recipient_restrictions=table)
        .recipient(facts(), "x@far.example")
        .reply
    )


@pytest.mark.parametrize(
    "routed", ["a%far.example@relay.example", "far.example!a@relay.example", "a@far.example@relay.example"]
)
def test_nobody_is_asked_to_route_on(routed: str) -> None:
    assert said(judge().recipient(facts(), routed)) == f"454 4.7.1 <{routed}>: Relay access denied"
    at = judge(
        smtpd_relay_restrictions="",
        smtpd_recipient_restrictions="check_recipient_access inline:{relay.example=OK}, reject_unauth_destination",
    )
    assert at.recipient(facts(), routed).verdict is Verdict.REJECT
    assert at.recipient(facts(), "a@relay.example").verdict is Verdict.PERMIT


@pytest.mark.parametrize(
    ("relay", "recipient"),
    [
        ("", ""),
        ("permit_mynetworks", "permit_auth_destination"),
        ("permit, reject", ""),
        ("warn_if_reject reject_unauth_destination, permit", ""),
        ("permit_mynetworks", "permit reject_unauth_destination"),
        ("", "mine"),
    ],
)
def test_lists_that_would_make_an_open_relay_do_not_start(relay: str, recipient: str) -> None:
    with pytest.raises(ConfigError, match="specify at least one working instance of"):
        judge(
            smtpd_relay_restrictions=relay,
            smtpd_recipient_restrictions=recipient,
            smtpd_restriction_classes="mine",
            mine="permit_mynetworks",
        )


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("permit_mynetwork, reject", r'main\.cf:4: unknown smtpd restriction: "permit_mynetwork"'),
        ("check_client_access", r'main\.cf:4: restriction "check_client_access" needs a table'),
        ("check_client_access hash", r'main\.cf:4: expecting "type:name" form instead of "hash"'),
        ("reject_rbl_client", r'main\.cf:4: restriction "reject_rbl_client" needs a domain name'),
        ("check_client_access nosuch:x", r"main\.cf:4: .*unsupported dictionary type"),
    ],
)
def test_a_word_that_is_not_understood_is_named_with_its_line(words: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        judge(smtpd_client_restrictions=words)


def test_what_is_here_is_not_called_missing() -> None:
    assert UNAVAILABLE.isdisjoint(VOCABULARY)


def test_classes_that_name_each_other() -> None:
    with pytest.raises(ConfigError, match="name each other"):
        judge(smtpd_restriction_classes="a b", a="b", b="a", smtpd_client_restrictions="a")


def test_without_delay_each_stage_is_judged_at_once() -> None:
    at = judge(
        smtpd_delay_reject="no",
        smtpd_client_restrictions="check_client_access inline:{ {198.51.100=REJECT go away} }",
        smtpd_helo_restrictions="reject_non_fqdn_helo_hostname",
        smtpd_sender_restrictions="reject_non_fqdn_sender",
    )
    assert said(at.connect(facts())) == "554 5.7.1 <mail.far.example[198.51.100.7]>: Client host rejected: go away"
    assert said(at.connect(facts(FRIEND))) == "dunno"
    assert said(at.helo(facts(FRIEND))) == "504 5.5.2 <desk>: Helo command rejected: need fully-qualified hostname"
    assert said(at.mail(facts(), "s")) == "504 5.5.2 <s>: Sender address rejected: need fully-qualified address"
    assert said(at.mail(facts(), "")) == "dunno"


def test_with_delay_the_recipient_hears_it() -> None:
    at = judge(smtpd_client_restrictions="check_client_access inline:{198.51.100=REJECT}")
    assert said(at.connect(facts())) == said(at.helo(facts())) == said(at.mail(facts(), "s@far.example")) == "dunno"
    assert said(at.recipient(facts(), "joe@mx.example.com")) == (
        "554 5.7.1 <mail.far.example[198.51.100.7]>: Client host rejected: Access denied"
    )


def test_postmaster_is_always_heard() -> None:
    assert said(judge(smtpd_client_restrictions="reject").recipient(facts(), "Postmaster")) == "permit"


def test_a_table_that_cannot_answer_puts_mail_off(tmp_path: Path) -> None:
    missing = f"texthash:{tmp_path}/missing"
    for parameters in (
        {"mynetworks": missing},
        {"relay_domains": missing},
        {"local_recipient_maps": missing},
        {"transport_maps": missing},
        {"smtpd_client_restrictions": f"check_client_access {missing}"},
    ):
        recipient = "x@relay.example" if "relay_domains" in parameters else "joe@mx.example.com"
        decision = judge(**parameters).recipient(facts(), recipient)
        assert decision.verdict is Verdict.DEFER, parameters
        assert said(decision).startswith("451 4.3."), parameters


def test_hold_and_discard_let_mail_in_and_say_what_to_do() -> None:
    for word in ("HOLD", "DISCARD"):
        at = judge(smtpd_client_restrictions=f"check_client_access inline:{{ {{198.51.100={word} text}} }}")
        decision = at.recipient(facts(), "joe@mx.example.com")
        assert decision.verdict is Verdict.DUNNO
        assert [(effect.action, effect.note) for effect in decision.effects] == [
            (word.lower(), "<mail.far.example[198.51.100.7]>: Client host text")
        ]
    held = judge(smtpd_client_restrictions="check_client_access inline:{198.51.100=HOLD}")
    assert held.recipient(facts(), "x@far.example").verdict is Verdict.DEFER


def test_what_a_fault_may_have_kept_from_us_is_put_off() -> None:
    at = judge(smtpd_client_restrictions="defer_if_permit")
    assert said(at.recipient(facts(), "joe@mx.example.com")) == (
        "450 4.7.0 <mail.far.example[198.51.100.7]>: Client host rejected: defer_if_permit requested"
    )
    assert "Relay access denied" in said(at.recipient(facts(), "x@far.example"))
    at = judge(smtpd_recipient_restrictions="defer_if_reject, reject")
    assert "defer_if_reject requested" in said(at.recipient(facts(), "joe@mx.example.com"))


def test_later_stages() -> None:
    at = judge(smtpd_data_restrictions="reject_unauth_pipelining", smtpd_end_of_data_restrictions="reject")
    assert said(at.data(facts())) == "dunno"
    assert said(at.data(facts(pipelined=True))) == (
        "503 5.5.0 <DATA>: Data command rejected: Improper use of SMTP command pipelining"
    )
    assert said(at.end_of_data(facts())) == "554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: Access denied"
    etrn = judge(smtpd_etrn_restrictions="check_etrn_access inline:{far.example=REJECT}")
    assert said(etrn.etrn(facts(), "far.example")) == "554 5.7.1 <far.example>: Etrn command rejected: Access denied"
    assert said(etrn.etrn(facts(), "else.example")) == "dunno"


def test_a_session_in_clear() -> None:
    at = judge(smtpd_recipient_restrictions="reject_plaintext_session")
    assert said(at.recipient(facts(), "joe@mx.example.com")) == "450 4.7.1 Session encryption is required"
    tls = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
    assert said(at.recipient(facts(tls=tls), "joe@mx.example.com")) == "dunno"


def test_soft_bounce_refuses_nothing_for_good() -> None:
    at = judge(soft_bounce="yes")
    decision = at.recipient(facts(), "nobody@mx.example.com")
    assert decision.verdict is Verdict.DEFER
    assert said(decision).startswith("450 4.1.1 ")


def test_a_code_that_is_no_refusal_lets_nobody_in() -> None:
    at = judge(smtpd_relay_restrictions="reject_unauth_destination", relay_domains_reject_code="250")
    assert said(at.recipient(facts(), "x@far.example")) == "450 4.7.1 Service unavailable"


def test_an_answer_names_the_line_that_made_it(tmp_path: Path) -> None:
    table = tmp_path / "clients"
    table.write_text("# friends\n203.0.113.1 OK\n198.51.100 REJECT\n")
    decision = judge(smtpd_client_restrictions=f"check_client_access texthash:{table}").recipient(facts(), "joe")
    assert str(decision.rule.origin) == f"{table}:3"
    assert decision.facts[0].key == "198.51.100"
    refusal = judge().recipient(facts(), "x@far.example")
    assert refusal.rule.name == "defer_unauth_destination"


ADDRESSES = st.text(st.sampled_from('ab.@%!+"\\ []:1<>-ü'), min_size=1, max_size=16) | st.builds(
    "{}@{}".format,
    st.text(st.sampled_from('ab%!@".-'), max_size=8),
    st.sampled_from(["mx.example.com", "relay.example", "far.example", "localhost", "[192.0.2.1]", "far.example."]),
)
JUDGE, RESOLVER = judge_and_resolver(
    smtpd_recipient_restrictions="check_recipient_access inline:{{far.example=OK} {relay.example=OK} {a@=OK}}",
    local_recipient_maps="",
)


@given(ADDRESSES)
def test_no_address_is_a_way_through_us(address: str) -> None:
    """Whatever a stranger writes: what is let in ends with us or in relay_domains, and is not routed any further."""
    decision = JUDGE.recipient(facts(), address)
    if decision.verdict in (Verdict.REJECT, Verdict.DEFER):
        return
    found = RESOLVER.resolve(address)
    assert found.address_class.final or found.address_class is AddressClass.RELAY
    assert not found.routed
    assert not found.recipient.endswith("far.example")


def test_mail_that_a_milter_would_have_to_see() -> None:
    at = judge(smtpd_milters="inet:127.0.0.1:1")
    assert said(at.mail(facts(), "s@far.example")) == "451 4.7.1 Service unavailable - try again later"
    at = judge(smtpd_milters="inet:127.0.0.1:1", milter_default_action="reject")
    assert at.mail(facts(), "s@far.example").verdict is Verdict.REJECT
    assert said(judge(smtpd_milters="inet:127.0.0.1:1", milter_default_action="accept").mail(facts(), "")) == "dunno"
    held = judge(smtpd_milters="inet:127.0.0.1:1", milter_default_action="quarantine").mail(facts(), "s@far.example")
    assert [effect.action for effect in held.effects] == ["hold"]
