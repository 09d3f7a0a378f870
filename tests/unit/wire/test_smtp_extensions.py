from hypothesis import given
from hypothesis import strategies as st

from postwarden.wire.smtp_extensions import Extensions, parse

REPLY = """250-mx.remote.example at your service
250-PIPELINING
250-size 35882577
250-8BITMIME
250-AUTH=PLAIN LOGIN
250-XFORWARD NAME ADDR FOO
250-STARTTLS
250-DSN
250 SMTPUTF8"""


def test_all_that_is_known() -> None:
    found = parse(REPLY)
    assert found == Extensions(
        name="mx.remote.example",
        esmtp=True,
        pipelining=True,
        size=True,
        size_limit=35882577,
        eight_bit=True,
        dsn=True,
        smtputf8=True,
        starttls=True,
        auth=("PLAIN", "LOGIN"),
        xforward=("NAME", "ADDR"),
    )


def test_discarded_keywords() -> None:
    found = parse(REPLY, frozenset(("pipelining", "size", "starttls")))
    assert not (found.pipelining or found.size or found.size_limit or found.starttls)


def test_bad_sizes() -> None:
    assert parse("250-x\n250 SIZE").size
    assert parse("250-x\n250 SIZE many").bad_size == "many"
    assert parse("250-x\n250 SIZE " + "9" * 400).size_limit == 0
    assert parse("250-x\n250 SIZE \u0664").bad_size == "\u0664"


def test_smtputf8_implies_8bitmime() -> None:
    assert parse("250-x\n250 SMTPUTF8").eight_bit


@given(st.text())
def test_never_fails(text: str) -> None:
    parse(text)
