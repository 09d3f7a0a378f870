"""What XCLIENT and XFORWARD say of others."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.mail.envelope import Client
from postwarden.receive.attributes import Attribute, BadAttribute, decoded
from postwarden.receive.ehlo import XCLIENT_ATTRIBUTES, XFORWARD_ATTRIBUTES
from postwarden.testing.reception import Reception

MAIN_CF = """\
mydestination = example.com
local_recipient_maps =
smtpd_authorized_xforward_hosts = 127.0.0.0/8
local_header_rewrite_clients = permit_mynetworks
"""


def address(argument: str, *families: str) -> str:
    return Attribute(argument, "XCLIENT", XCLIENT_ATTRIBUTES, families or ("all",)).address()


@pytest.mark.parametrize(
    ("argument", "families", "found"),
    [
        ("ADDR=192.0.2.1", ("ipv4",), "192.0.2.1"),
        ("ADDR=IPV6:2001:DB8:0::1", ("all",), "2001:db8::1"),
        ("ADDR=ipv6:::ffff:192.0.2.1", ("ipv4",), "192.0.2.1"),
        ("ADDR=[UNAVAILABLE]", ("ipv4",), "unknown"),
        ("ADDR=IPV6:2001:db8::1", ("ipv6", "ipv4"), "2001:db8::1"),
    ],
)
def test_addresses(argument: str, families: tuple[str, ...], found: str) -> None:
    assert address(argument, *families) == found


@pytest.mark.parametrize(
    ("argument", "families"),
    [
        ("ADDR=IPV6:2001:db8::1", ("ipv4",)),
        ("ADDR=192.0.2.1", ("ipv6",)),
        ("ADDR=2001:db8::1", ("all",)),
        ("ADDR=IPV6:192.0.2.1", ("all",)),
        ("ADDR=192.0.2", ("all",)),
        ("ADDR=IPV6:fe80::1%eth0", ("all",)),
    ],
)
def test_what_is_no_address_here(argument: str, families: tuple[str, ...]) -> None:
    with pytest.raises(BadAttribute, match="Bad ADDR syntax"):
        address(argument, *families)


METHODS: list[Callable[[Attribute], object]] = [Attribute.hostname, Attribute.address, Attribute.port]


@given(
    st.sampled_from(XFORWARD_ATTRIBUTES),
    st.one_of(st.text(max_size=300), st.from_regex(r"\A[+0-9A-Za-z:.\[\]]{0,40}\Z")),
    st.sampled_from(METHODS),
)
def test_any_value_is_taken_or_refused(name: str, value: str, method: Callable[[Attribute], object]) -> None:
    for command in ("XCLIENT", "XFORWARD"):
        try:
            attribute = Attribute(f"{name}={value}", command, XFORWARD_ATTRIBUTES, ("all",))
            found = str(method(attribute))
        except BadAttribute as bad:
            assert "\n" not in str(bad) and "\r" not in str(bad)
        else:
            assert found.isprintable() and attribute.value.isprintable()


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\ufffd"), max_size=50))
def test_what_is_encoded_comes_back(text: str) -> None:
    encoded = "".join(f"+{byte:02X}" for byte in text.encode())
    assert decoded(encoded) == "".join(c if c.isprintable() else "?" for c in text)


def send(reception: Reception, forwarded: str, head: str = "From: joe") -> None:
    peer = reception.connect()
    answers = peer.say(forwarded, "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.com>", "DATA", head, "", "x", ".")
    assert "queued as" in answers, answers


def test_the_next_hop_hears_whose_message_it_is() -> None:
    reception = Reception(MAIN_CF)
    send(reception, "XFORWARD NAME=far.example ADDR=192.0.2.7 PORT=99 PROTO=ESMTP HELO=helo.example IDENT=4ABC")
    client = reception.store.messages[0][0].client
    assert client == Client("far.example", "192.0.2.7", 99, helo="helo.example", protocol="ESMTP", ident="4ABC")
    send(reception, "XFORWARD IDENT=4DEF")
    client = reception.store.messages[1][0].client
    assert client is not None and (client.address, client.ident) == ("127.0.0.1", "4DEF")


@pytest.mark.parametrize(("source", "local"), [("LOCAL", True), ("REMOTE", False), ("[UNAVAILABLE]", True)])
def test_whose_mail_it_is_decides_about_rewriting(source: str, local: bool) -> None:
    reception = Reception(MAIN_CF)
    send(reception, f"XFORWARD SOURCE={source}")
    assert (b"From: joe@" in reception.store.messages[0][1]) is local


def test_what_permits_is_the_connection_and_not_what_it_says() -> None:
    reception = Reception(MAIN_CF, smtpd_authorized_xforward_hosts="192.0.2.10", mynetworks="127.0.0.0/8")
    peer = reception.connect("192.0.2.10")
    answers = peer.say("XFORWARD NAME=localhost ADDR=127.0.0.1", "MAIL FROM:<a@b.example>", "RCPT TO:<c@far.example>")
    assert "Relay access denied" in answers


def test_a_table_of_keywords_that_cannot_be_asked_ends_the_session(tmp_path: Path) -> None:
    reception = Reception(smtpd_discard_ehlo_keyword_address_maps=f"hash:{tmp_path}/missing")
    peer = reception.connect()
    peer.hear()
    assert peer.say("EHLO x") == "421 4.3.0 mx.example.com Server local data error\r\n"
    assert peer.closed
    assert reception.log[1:3] == [
        "smtpd: warning: don't know what EHLO features to announce to localhost[127.0.0.1]",
        "smtpd: NOQUEUE: reject: EHLO from localhost[127.0.0.1]: 421 4.3.0 mx.example.com Server local data error",
    ]
