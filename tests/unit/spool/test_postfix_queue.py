"""Queue files as Postfix writes them -> our envelope; and our messages as queue files."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.mail.envelope import Client, Envelope, Recipient
from postwarden.spool.postfix_queue import PostfixMessage, Unusable, read, split
from postwarden.spool.postfix_records import RecordReader, record
from postwarden.spool.postfix_writer import Stored, Style, write

START = (("C", b"1 2 3 0 1 0"), ("T", b"1700000000 250000"), ("S", b"from@x.example"))
CONTENT = (("M", b""), ("N", b"Subject: x"), ("N", b""), ("N", b"body"), ("X", b""))
END = (("E", b""),)


def file(*parts: tuple[str, bytes]) -> io.BytesIO:
    return io.BytesIO(b"".join(record(*part) for part in parts))


def taken(*middle: tuple[str, bytes], content: tuple[tuple[str, bytes], ...] = CONTENT) -> PostfixMessage:
    return read(file(*START, *middle, *content, *END), "ABC")


def test_a_plain_message() -> None:
    message = taken(("O", b"old@x"), ("R", b"new@x"), ("R", b"two@x"))
    envelope = message.envelope
    assert (envelope.queue_id, envelope.arrival, envelope.sender) == ("ABC", 1700000000.25, "from@x.example")
    assert envelope.recipients == (Recipient("new@x", "old@x"), Recipient("two@x"))
    assert (message.head, message.body) == (b"Subject: x\r\n\r\n", b"body\r\n")
    assert envelope.size == 20 and envelope.client is None


def test_recipients_that_are_done_with_are_left_out() -> None:
    message = taken(("D", b"done@x"), ("O", b"o@x"), ("/", b"off@x"), ("R", b"open@x"))
    assert message.envelope.recipients == (Recipient("open@x"),)
    assert message.delivered == 2


def test_or_given_if_they_are_asked_for() -> None:
    parts = (*START, ("A", b"notify_flags=4"), ("D", b"done@x"), ("R", b"open@x"), *CONTENT, *END)
    data = file(*parts)
    [offset] = [one.offset for one in RecordReader(data) if one.kind == "D"]
    data.seek(0)
    message = read(data, "ABC", frozenset({offset}))
    assert message.envelope.recipients == (Recipient("done@x", notify=4), Recipient("open@x"))
    assert message.closed == (True, False) and message.offsets[0] == offset


def test_dsn_is_as_the_client_said_it() -> None:
    message = taken(
        ("A", b"envelope_id=a+b"), ("A", b"ret_flags=2"),
        ("A", b"notify_flags=14"), ("A", b"dsn_orig_rcpt=rfc822;o+x@y"), ("O", b"one@x"), ("R", b"one@x"),
        ("A", b"dsn_orig_rcpt=rfc822;\"a b\"@x"), ("O", b"a b@x"), ("R", b"two@x"),
        ("A", b"notify_flags=77"), ("R", b"three@x"),
    )  # fmt: skip
    assert (message.envelope.envid, message.envelope.ret) == ("a+2Bb", "HDRS")
    assert message.envelope.recipients == (
        Recipient("one@x", "", "rfc822;o+2Bx@y", 14), Recipient("two@x", "a b@x"), Recipient("three@x"),
    )  # fmt: skip


def test_client_login_verp_and_flags() -> None:
    message = taken(
        ("A", b"log_client_name=mx.y"), ("A", b"log_client_address=192.0.2.1"), ("A", b"log_client_port=25"),
        ("A", b"log_helo_name=mx"), ("A", b"log_protocol_name=ESMTP"), ("A", b"client_name=proxy"),
        ("A", b"client_address=127.0.0.1"), ("A", b"sasl_username=me"), ("V", b"+="), ("W", b"              0"),
        ("A", b"trace_flags=1024"), ("F", b"Full Name"), ("R", b"one@x"),
    )  # fmt: skip
    envelope = message.envelope
    assert envelope.client == Client("mx.y", "192.0.2.1", 25, "unknown", "mx", "ESMTP", "me")
    assert (envelope.verp, envelope.trace, envelope.full_name, message.warned) == ("+=", "record", "Full Name", True)
    assert not message.probe and taken(("A", b"trace_flags=256"), ("R", b"x@y")).probe


def test_redirect_and_filter() -> None:
    extracted = (*CONTENT, (">", b"other@x"), ("L", b"smtp:[127.0.0.1]:10025"))
    message = taken(("D", b"done@x"), ("R", b"one@x"), ("R", b"two@x"), content=extracted)
    assert message.envelope.recipients == (Recipient("other@x", "one@x"),)
    assert message.filter == "smtp:[127.0.0.1]:10025"


def test_a_user_is_known_by_pickup_s_header() -> None:
    received = ("N", b"Received: by mx.example.com (Postfix, from userid 1000)")
    local = (("M", b""), received, ("N", b"\tid ABC; date"), ("N", b""), ("X", b""))
    assert taken(("R", b"x@y"), content=local).envelope.user == "1000"
    assert taken(("A", b"client_address=1.2.3.4"), ("R", b"x@y"), content=local).envelope.user == ""


def test_long_lines_are_put_together_and_no_line_ends_by_itself() -> None:
    parts = (("M", b""), ("N", b"A: b"), ("N", b""), ("L", b"x" * 2048), ("N", b"y"), ("N", b"a\nb"), ("L", b"end"))
    message = taken(("R", b"x@y"), content=(*parts, ("X", b"")))
    assert message.body == b"x" * 2048 + b"y\r\na\r\nb\r\nend\r\n"


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ((*START, *CONTENT), "missing end record"),
        ((START[0], START[2], *CONTENT, *END), "missing arrival time record"),
        ((*START[:2], *CONTENT, *END), "missing sender record"),
        ((*START, *END), "envelope records out of order"),
        ((*START, ("M", b""), ("N", b"x"), *END), "a record of type 69 in the content"),
        ((*START, ("A", b"nonsense"), *CONTENT, *END), "malformed attribute: nonsense"),
        ((*START, ("R", b"\xff@x"), *CONTENT, *END), "not UTF-8: ?@x"),
        ((*START, ("R", b"a\nDATA"), *CONTENT, *END), "a line break in an address: a?DATA"),
        ((*START, ("O", b"a\rb"), ("R", b"a"), *CONTENT, *END), "a line break in an address: a?b"),
        ((*START[:2], ("S", b"a\r\nDATA"), *CONTENT, *END), "a line break in an address: a??DATA"),
        ((*START, *CONTENT, *CONTENT, *END), "two messages in one file"),
        ((("T", b"x"), START[2], *CONTENT, *END), "missing arrival time record"),
    ],
)
def test_what_can_t_be_taken_over_says_why(parts: tuple[tuple[str, bytes], ...], why: str) -> None:
    with pytest.raises(Unusable) as error:
        read(file(*parts), "ABC")
    assert str(error.value) == why


@pytest.mark.parametrize(
    ("content", "head"),
    [
        (b"A: b\r\n\r\nbody\r\n", b"A: b\r\n\r\n"),
        (b"A: b\r\n c\r\n\r\n", b"A: b\r\n c\r\n\r\n"),
        (b"A: b\r\n", b"A: b\r\n"),
        (b"A: b\r\nno header\r\n", b"A: b\r\n\r\n"),
        (b"\r\nbody\r\n", b"\r\n"),
        (b" folded\r\n", b"\r\n"),
        (b"", b""),
    ],
)
def test_head_and_body(content: bytes, head: bytes) -> None:
    found, body = split(content)
    assert found == head
    assert content in (found + body, found[:-2] + body)


names = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=1, max_size=8)
addresses = st.builds("{}@{}".format, names, names)
recipients = st.builds(
    Recipient, addresses, addresses | st.just(""),
    st.sampled_from(["", "rfc822;a+2Bb@x", "rfc822;z@y", "utf-8;r\\x{FC}@x"]), st.integers(0, 14),
)  # fmt: skip
clients = st.builds(
    Client, st.sampled_from(["unknown", "mx.y"]), st.sampled_from(["192.0.2.1", "::1"]), st.integers(0, 65535),
    st.sampled_from(["unknown", "mx.y"]), st.sampled_from(["", "helo"]), st.sampled_from(["SMTP", "ESMTP"]),
    st.sampled_from(["", "login"]),
)  # fmt: skip
envelopes = st.builds(
    Envelope, st.just("ABC"), st.integers(1, 2**33).map(lambda n: n / 4), addresses | st.just(""),
    st.lists(recipients, min_size=1, max_size=3).map(tuple), st.just(0), smtputf8=st.booleans(),
    ret=st.sampled_from(["", "FULL", "HDRS"]), envid=st.sampled_from(["", "a+2Bb"]), client=st.none() | clients,
    context=st.sampled_from(["local", "remote"]), full_name=st.just(""),
)  # fmt: skip
bodies = st.lists(st.binary(max_size=20).map(lambda d: d.replace(b"\r", b"").replace(b"\n", b"")), max_size=5)


def told(envelope: Envelope) -> tuple[Recipient, ...]:
    """A report asks for no report, which Postfix does not write down; nor does it tell an original from none."""
    report = envelope.client is None and not envelope.sender
    return tuple(
        Recipient(
            one.address, "" if one.original == one.address else one.original, one.orcpt, 0 if report else one.notify
        )
        for one in envelope.recipients
    )


@given(envelopes, bodies, st.integers(1, 30), st.booleans())
def test_what_we_write_is_what_we_read(envelope: Envelope, lines: list[bytes], limit: int, warned: bool) -> None:
    """But for what Postfix has in one form only, and what a null sender's mail does not tell."""
    head, body = b"Message-Id: <x@y>\r\nA: b\r\n\r\n", b"".join(line + b"\r\n" for line in lines)
    target = io.BytesIO()
    cut = len(body) // 2
    style = Style(3600, limit)
    stored = Stored(envelope, frozenset(range(len(envelope.recipients))), warned)
    write(target, stored, head, [body[:cut], body[cut:]], style)
    message = read(target, "ABC")
    assert (message.head, message.body) == (head, body)
    found = message.envelope
    assert found.recipients == told(envelope)
    assert (found.arrival, found.sender, found.smtputf8) == (envelope.arrival, envelope.sender, envelope.smtputf8)
    assert found.client == envelope.client and found.message_id == "<x@y>"
    if envelope.client is not None:
        assert (found.ret, found.envid, found.context) == (envelope.ret, envelope.envid, envelope.context)
    assert message.warned is (warned and bool(envelope.sender))


@pytest.mark.parametrize(
    ("client", "eight_bit", "head", "kinds"),
    [
        (Client("a", "1.2.3.4"), True, b"A: b\r\n\r\n", ["8bit", "8bit"]),
        (Client("a", "1.2.3.4"), False, b"A: b\r\n\r\n", []),
        (None, True, b"A: b\r\n\r\n", []),
        (None, True, b"A: b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", ["8bit"]),
        (Client("a", "1.2.3.4"), False, b"Content-Transfer-Encoding: 7bit\r\n\r\n", []),
    ],
)
def test_encoding(client: Client | None, eight_bit: bool, head: bytes, kinds: list[str]) -> None:
    target = io.BytesIO()
    envelope = Envelope("A", 5.0, "me@x", (Recipient("a@x"),), 0, eight_bit, client=client)
    write(target, Stored(envelope, frozenset({0})), head, [], Style())
    assert re.findall(rb"\x0dencoding=(.bit)", target.getvalue()) == [kind.encode() for kind in kinds]


@pytest.mark.parametrize(("told_of", "kind"), [(False, "A"), (True, "K")])
def test_a_trace_that_was_told_of_counts_no_more(told_of: bool, kind: str) -> None:
    target = io.BytesIO()
    envelope = Envelope("A", 5.0, "me@x", (Recipient("a@x"),), 0, user="0", trace="record")
    write(target, Stored(envelope, frozenset({0}), told=told_of), b"\r\n", [], Style())
    assert record(kind, b"trace_flags=1024") in target.getvalue()
    assert read(target, "A").envelope.trace == ("" if told_of else "record")


def test_a_message_without_client_that_has_a_sender_is_a_user_s() -> None:
    target = io.BytesIO()
    envelope = Envelope("A", 5.0, "me@x", (Recipient("a@x"), Recipient("b@x")), 0, full_name="Me", verp="+=", user="0")
    write(target, Stored(envelope, frozenset({1})), b"A: b\r\n\r\n", [], Style())
    kinds = "".join(one.kind for one in RecordReader(target))
    assert kinds == "CTAAFSVAODAORMNNXE"
