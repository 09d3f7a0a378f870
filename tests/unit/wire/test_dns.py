"""The DNS codec, against dnspython and against bytes that nobody meant."""

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.wire.dns import (
    DnsError,
    Kind,
    Message,
    Record,
    address_text,
    decode,
    encode,
    encode_name,
    encode_query,
    reverse_name,
)

labels = st.binary(min_size=1, max_size=20)
names = st.lists(labels, max_size=6)
hosts = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z]{1,8}){0,3}", fullmatch=True)
ttls = st.integers(0, 2**31 - 1)
shorts = st.integers(0, 65535)


def text_of(parts: list[bytes]) -> str:
    """The text that dnspython has for these labels, in our spelling: only dot and backslash with a backslash."""
    return ".".join(
        "".join("\\" + chr(b) if b in b".\\" else chr(b) if 32 < b < 127 else f"\\{b:03d}" for b in label)
        for label in parts
    )


@st.composite
def records(draw: st.DrawFn) -> Record:
    name, ttl, kind = draw(hosts), draw(ttls), draw(st.sampled_from(list(Kind)))
    if kind == Kind.A:
        return Record(name, kind, ttl, address_text(draw(st.binary(min_size=4, max_size=4))))
    if kind == Kind.AAAA:
        return Record(name, kind, ttl, address_text(draw(st.binary(min_size=16, max_size=16))))
    if kind == Kind.TXT:
        return Record(name, kind, ttl, draw(st.binary(max_size=600)))
    if kind == Kind.TLSA:
        return Record(name, kind, ttl, bytes((3, 1, 1)) + draw(st.binary(min_size=32, max_size=32)))
    if kind == Kind.MX:
        return Record(name, kind, ttl, draw(hosts | st.just("")), draw(shorts))
    if kind == Kind.SRV:
        return Record(name, kind, ttl, draw(hosts), draw(shorts), draw(shorts), draw(shorts))
    if kind == Kind.SOA:
        return Record(name, kind, ttl, draw(hosts), draw(ttls))
    return Record(name, kind, ttl, draw(hosts))


messages = st.builds(
    Message,
    ident=shorts,
    name=hosts,
    kind=st.sampled_from(list(Kind)),
    response=st.just(True),
    rcode=st.integers(0, 15),
    truncated=st.booleans(),
    authenticated=st.booleans(),
    edns=st.just(True),
    dnssec_ok=st.booleans(),
    payload=st.integers(512, 65535),
    answers=st.lists(records(), max_size=6).map(tuple),
    authority=st.lists(records(), max_size=2).map(tuple),
)


@given(messages)
def test_what_is_written_is_read_again(message: Message) -> None:
    if message.truncated:  # the additional section of a cut message is not looked at
        return
    assert decode(encode(message)) == message


@given(messages)
def test_dnspython_reads_what_we_write(message: Message) -> None:
    theirs = dns.message.from_wire(encode(message))
    assert theirs.id == message.ident
    assert bool(theirs.flags & dns.flags.AD) == message.authenticated
    assert theirs.rcode() == message.rcode
    assert theirs.payload == message.payload
    assert theirs.question[0].name.to_text(omit_final_dot=True) == message.name
    for record in message.answers:
        found = theirs.find_rrset(
            theirs.answer, dns.name.from_text(record.name), 1, dns.rdatatype.RdataType(record.kind)
        )
        if record.kind in (Kind.A, Kind.AAAA):
            assert any(dns.name.from_text(record.name) and packed(r.address) == packed(str(record.data)) for r in found)
        if record.kind == Kind.MX:
            expected = (record.preference, str(record.data))
            assert expected in [(r.preference, r.exchange.to_text(omit_final_dot=True).strip(".")) for r in found]


def packed(address: str) -> bytes:
    import ipaddress

    return ipaddress.ip_address(address).packed


@given(shorts, names, st.sampled_from(list(Kind)), st.booleans())
def test_dnspython_reads_our_query(ident: int, parts: list[bytes], kind: Kind, edns: bool) -> None:
    theirs = dns.message.from_wire(encode_query(ident, text_of(parts), kind, edns=edns))
    assert theirs.id == ident
    assert theirs.question[0].name.labels == (*parts, b"")
    assert theirs.question[0].rdtype == int(kind)
    assert theirs.flags & dns.flags.RD
    assert theirs.edns == (0 if edns else -1)


@given(st.lists(st.tuples(names, st.sampled_from(["A", "MX", "PTR", "CNAME", "SRV"]), ttls), min_size=1, max_size=8))
def test_we_read_what_dnspython_compressed(wanted: list[tuple[list[bytes], str, int]]) -> None:
    theirs = dns.message.Message(id=7)
    theirs.flags = dns.flags.QR
    target = dns.name.from_text("mail.example.com")
    theirs.question.append(dns.rrset.RRset(target, 1, dns.rdatatype.A))
    texts = {"A": "192.0.2.1", "MX": "10 mail.example.com.", "PTR": "mail.example.com.",
             "CNAME": "www.example.com.", "SRV": "1 2 3 mail.example.com."}  # fmt: skip
    for parts, kind, ttl in wanted:
        name = dns.name.Name((*parts, b""))
        theirs.answer.append(dns.rrset.from_text(name, ttl, "IN", kind, texts[kind]))
    ours = decode(theirs.to_wire())
    assert ours.name == "mail.example.com"
    assert [(r.name, Kind(r.kind).name, r.ttl) for r in ours.answers] == [
        (text_of(parts), kind, ttl) for parts, kind, ttl in wanted
    ]
    expected = {"A": "192.0.2.1", "CNAME": "www.example.com"}
    for record in ours.answers:
        assert record.data == expected.get(Kind(record.kind).name, "mail.example.com")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    try:
        decode(data)
    except DnsError:
        return


@given(messages, st.data())
def test_a_damaged_message_is_a_message_or_an_error(message: Message, data: st.DataObject) -> None:
    wire = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(wire)))
    try:
        decode(bytes(wire[:cut]))
    except DnsError:
        return


def header(answers: int) -> bytes:
    return b"\0\1\x81\x80\0\0" + answers.to_bytes(2) + b"\0\0\0\0"


@pytest.mark.parametrize(
    "name",
    [b"\xc0\x0c", b"\xc0\x0e\xc0\x0c", b"\xc0\xff", b"\x01a\xc0\x0c", b"\x40a", b"\x80a", b"\x3fa"],
    ids=["itself", "each other", "past the end", "own label", "type 1", "type 2", "cut label"],
)
def test_bad_pointers_end(name: bytes) -> None:
    with pytest.raises(DnsError):
        decode(header(1) + name + b"\0\1\0\1\0\0\0\0\0\4\1\2\3\4")


def test_a_long_chain_of_pointers_is_read_once() -> None:
    """64 KB of pointers, each to the one before: the names are remembered, the work is not squared."""
    first = b"\1a\0\0\1\0\1\0\0\0\0\0\4\1\2\3\4"
    body, at = bytearray(first), 12
    count = 1
    while len(body) < 60000:
        body += (0xC000 | at).to_bytes(2) + first[3:]
        at = 12 + len(body) - len(first[3:]) - 2 if 12 + len(body) < 16384 else at
        count += 1
    assert len(decode(header(count) + bytes(body)).answers) == count


def test_a_name_of_256_bytes_is_refused() -> None:
    with pytest.raises(DnsError):
        encode_name(".".join(["a" * 63] * 4))
    with pytest.raises(DnsError):
        decode(header(1) + (b"\x3f" + b"a" * 63) * 4 + b"\0" + b"\0\1\0\1\0\0\0\0\0\4\1\2\3\4")


@pytest.mark.parametrize("name", ["a..b", ".a", "a" * 64, "bücher.example", "a\\", "a\\25", "a\\999"])
def test_what_is_no_name_is_not_sent(name: str) -> None:
    with pytest.raises(DnsError):
        encode_query(1, name, Kind.A)


def test_a_ttl_above_31_bits_is_zero() -> None:
    """RFC 2181 8."""
    message = decode(header(1) + b"\1a\0\0\1\0\1\xff\0\0\0\0\4\1\2\3\4")
    assert message.answers == (Record("a", 1, 0, "1.2.3.4"),)


def test_an_address_of_a_wrong_size_is_refused() -> None:
    with pytest.raises(DnsError):
        decode(header(1) + b"\1a\0\0\1\0\1\0\0\0\0\0\5\1\2\3\4\5")


def test_a_dot_inside_a_label_does_not_part_it() -> None:
    assert decode(header(1) + b"\3a.b\0\0\1\0\1\0\0\0\0\0\4\1\2\3\4").answers[0].name == "a\\.b"


def test_reverse_names() -> None:
    assert reverse_name("192.0.2.7") == "7.2.0.192.in-addr.arpa"
    assert reverse_name("2001:db8::1").endswith("0.8.b.d.0.1.0.0.2.ip6.arpa")
    with pytest.raises(ValueError):
        reverse_name("example.com")
