import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.deliver.smtp.commands import UnfitAddress, mail, rcpt, xforward, xtext
from postwarden.mail.envelope import Client, Notify, Recipient
from postwarden.testing.smtp_client import job
from postwarden.wire.smtp_extensions import Extensions

ALL = Extensions(
    esmtp=True, size=True, eight_bit=True, dsn=True, smtputf8=True, xforward=("NAME", "ADDR", "PROTO", "HELO")
)
NONE = Extensions()


def test_mail() -> None:
    assert mail(job(), NONE) == b"MAIL FROM:<from@sender.example>"
    assert mail(job(sender="", size=5), ALL) == b"MAIL FROM:<> SIZE=5"
    full = job(sender="a b@x.example", size=5, eight_bit=True, envid="id+2B", ret="HDRS", smtputf8=True)
    assert mail(full, ALL) == b'MAIL FROM:<"a b"@x.example> SIZE=5 BODY=8BITMIME ENVID=id+2B RET=HDRS SMTPUTF8'
    assert mail(full, ALL, announce_size=False, quote=False).startswith(b"MAIL FROM:<a b@x.example> BODY")


def test_rcpt() -> None:
    assert rcpt(Recipient("a@x.example"), NONE) == b"RCPT TO:<a@x.example>"
    assert rcpt(Recipient("a@x.example"), ALL) == b"RCPT TO:<a@x.example> ORCPT=rfc822;a@x.example"
    given = Recipient("a@x.example", "b=c@y.example", "", Notify.SUCCESS | Notify.DELAY)
    assert rcpt(given, ALL) == b"RCPT TO:<a@x.example> ORCPT=rfc822;b+3Dc@y.example NOTIFY=SUCCESS,DELAY"
    never = Recipient("a@x.example", "", "rfc822;o+2Bp@z.example", Notify.NEVER)
    assert rcpt(never, ALL) == b"RCPT TO:<a@x.example> ORCPT=rfc822;o+2Bp@z.example NOTIFY=NEVER"
    assert rcpt(Recipient("f\u00fcr@x.example"), ALL).endswith(b"ORCPT=utf-8;f\\x{FC}r@x.example")


@pytest.mark.parametrize("bad", ["a\r\nRSET@x.example", "a@x.example\n", "a\0@x.example", "a@x\x7f"])
def test_an_address_never_becomes_a_command(bad: str) -> None:
    for quote in (True, False):
        with pytest.raises(UnfitAddress):
            rcpt(Recipient(bad), NONE, quote=quote)
        with pytest.raises(UnfitAddress):
            mail(job(sender=bad), NONE, quote=quote)


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_a_command_is_one_line(address: str) -> None:
    try:
        line = rcpt(Recipient(address), ALL)
    except UnfitAddress:
        return
    assert not set(line) & {*range(32), 127}


@given(st.text(st.characters(max_codepoint=255)))
def test_xtext_can_be_read_back(text: str) -> None:
    coded = xtext(text)
    out, at = "", 0
    while at < len(coded):
        if coded[at] == "+":
            out += chr(int(coded[at + 1 : at + 3], 16))
            at += 3
        else:
            out += coded[at]
            at += 1
    assert out == text


def test_xforward() -> None:
    client = Client("c.example", "2001:db8::1", 12345, helo="he lo", protocol="ESMTP")
    assert xforward(job(client=client), ALL) == [
        b"XFORWARD NAME=c.example ADDR=IPv6:2001:db8::1",
        b"XFORWARD PROTO=ESMTP HELO=he+20lo",
    ]
    assert xforward(job(client=Client("unknown", "192.0.2.1")), Extensions(xforward=("NAME",))) == []
    assert xforward(job(), ALL) == []
