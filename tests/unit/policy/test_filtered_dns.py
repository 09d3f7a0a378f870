"""smtpd_dns_reply_filter: records that are dropped are as if they were not known; a filter that fails is no permit."""

import pytest

from postwarden.testing.reception import ZONE, Reception

RECORDS = f"""{ZONE}
good.example MX 10 mx.good.example
null.example MX 0 .
10.2.0.192.list.example A 127.0.0.2
10.2.0.192.list.example A 127.0.0.3
"""


def heard(sender: str = "a@good.example", **settings: str) -> tuple[str, list[str]]:
    made = Reception(
        zone=RECORDS,
        relay_domains="relay.example",
        smtpd_sender_restrictions="reject_unknown_sender_domain",
        **settings,
    )
    peer = made.connect("192.0.2.10")
    said = peer.say("HELO x", f"MAIL FROM:<{sender}>", "RCPT TO:<x@relay.example>")
    return said.splitlines()[-1], made.log


def test_what_is_dropped_counts_neither_for_nor_against_a_domain() -> None:
    reply, log = heard(smtpd_dns_reply_filter="pcre:{{/ MX / IGNORE}}")
    assert reply == "250 2.1.5 Ok"
    assert "smtpd: ignoring DNS RR: good.example. 300 IN MX 10 mx.good.example." in log


def test_that_a_domain_takes_no_mail_is_known_all_the_same() -> None:
    assert heard("a@null.example", smtpd_dns_reply_filter="pcre:{{/ MX / IGNORE}}")[0].startswith("550 5.7.27 ")


@pytest.mark.parametrize(
    ("table", "warning"),
    [
        ("static:what", 'smtpd: warning: smtpd_dns_reply_filter: unknown DNS filter action: "what"'),
        ("fail:x", "smtpd: warning: smtpd_dns_reply_filter: fail:x: this type of table always fails"),
    ],
)
def test_a_filter_that_fails_permits_nothing(table: str, warning: str) -> None:
    reply, log = heard(smtpd_dns_reply_filter=table)
    assert reply.startswith("450 4.1.8 ")
    assert warning in log


def test_one_answer_of_a_blocklist_is_dropped() -> None:
    asked = {"smtpd_recipient_restrictions": "reject_rbl_client list.example=127.0.0.2"}
    assert heard(**asked)[0].startswith("554 5.7.1 Service unavailable")
    assert heard(**asked, smtpd_dns_reply_filter="pcre:{{/ A 127.0.0.2$$/ IGNORE}}")[0].startswith("250 ")
