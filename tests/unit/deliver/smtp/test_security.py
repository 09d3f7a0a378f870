import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from hypothesis import given
from hypothesis import strategies as st

from postwarden.deliver.smtp.security import (
    INVALID,
    Security,
    fingerprints,
    known_digest,
    matches,
    parse_policy,
    sni,
)
from postwarden.mail.host import Host
from postwarden.mail.session import PeerCertificate
from postwarden.net.tls_client import Wanted

HOST = Host("mx1.mail.example.net", "192.0.2.1", 25, domain="example.com")
SOCKET = Host("own", "", 0, path="/run/lmtp", domain="/run/lmtp")
OWN = "us.example.org"
LEVELS = {level: Security(Wanted(level), ("nexthop",)) for level in ("none", "may", "encrypt", "verify", "secure")}
LEVELS["fingerprint"] = INVALID


def ok(name: str, *match: str, wildcards: bool = True, host: Host = HOST) -> bool:
    security = Security(Wanted("secure"), match, wildcards=wildcards)
    return matches(security, PeerCertificate(b"x", (name,)), host, OWN)


@pytest.mark.parametrize(
    ("name", "match", "good"),
    [
        ("example.com", "nexthop", True),
        ("EXAMPLE.com", "nexthop", True),
        ("mx.example.com", "nexthop", False),
        ("mx.example.com", "dot-nexthop", True),
        ("example.com", "dot-nexthop", False),
        ("notexample.com", "dot-nexthop", False),
        ("mx1.mail.example.net", "hostname", True),
        ("mx1.mail.example.net", "nexthop", False),
        ("*.mail.example.net", "hostname", True),
        ("*.example.net", "hostname", True),
        ("*.net", "hostname", False),
        ("*.", "hostname", False),
        ("*", "hostname", False),
        ("mx*.mail.example.net", "hostname", False),
        ("*.example.com", "nexthop", False),
        ("*.example.com", "dot-nexthop", True),
        ("other.example", "other.example", True),
        ("a.other.example", ".other.example", True),
        ("other.example", ".other.example", False),
    ],
)
def test_names(name: str, match: str, good: bool) -> None:
    assert ok(name, match) is good
    assert ok(name, "never.example", match) is good


def test_a_star_may_stand_for_one_label_only() -> None:
    assert ok("*.mail.example.net", "hostname", wildcards=False)
    assert not ok("*.example.net", "hostname", wildcards=False)


def test_a_socket_has_our_own_name() -> None:
    assert ok(OWN, "nexthop", host=SOCKET) and ok(OWN, "hostname", host=SOCKET)
    assert not ok("/run/lmtp", "nexthop", host=SOCKET)


def test_nothing_matches_nothing() -> None:
    assert not matches(Security(Wanted("secure"), ("nexthop",)), None, HOST, OWN)
    assert not matches(Security(Wanted("secure")), PeerCertificate(b"x", ("example.com",)), HOST, OWN)
    assert not ok("", "nexthop", host=Host("", "192.0.2.1", 25))


def test_fingerprints_of_certificate_and_key() -> None:
    pem = trustme.CA().issue_cert("a.example").cert_chain_pems[0].bytes()
    found = x509.load_pem_x509_certificate(pem)
    der = found.public_bytes(serialization.Encoding.DER)
    whole, key = fingerprints(der, "sha256")
    assert whole == found.fingerprint(hashes.SHA256()).hex()
    for digest in (whole, key):
        security = Security(Wanted("fingerprint"), (digest,))
        assert matches(security, PeerCertificate(der), HOST, OWN)
    assert not matches(Security(Wanted("fingerprint"), ("00",)), PeerCertificate(der), HOST, OWN)
    assert known_digest("sha256") and not known_digest("rot13")


def test_names_for_sni() -> None:
    names = {
        written: sni(Security(Wanted("may"), (), written), HOST, OWN)
        for written in ("", "hostname", "nexthop", "x.example")
    }
    assert names == {"": "", "hostname": "mx1.mail.example.net", "nexthop": "example.com", "x.example": "x.example"}


@pytest.mark.parametrize(
    ("text", "level", "wanted", "match"),
    [
        ("none", "none", (), ("nexthop",)),
        ("may", "may", (), ("nexthop",)),
        ("DANE", "may", (), ("nexthop",)),
        ("encrypt protocols=TLSv1.2:TLSv1.3", "encrypt", ("TLSv1.2", "TLSv1.3"), ("nexthop",)),
        ("secure match=.example.net:example.net", "secure", (), (".example.net", "example.net")),
        ("secure match=a.example, match=b.example", "secure", (), ("a.example", "b.example")),
    ],
)
def test_entries_of_a_policy_table(text: str, level: str, wanted: tuple[str, ...], match: tuple[str, ...]) -> None:
    found = parse_policy(text, LEVELS)
    assert (found.level, found.wanted.protocols, found.match) == (level, wanted, match)


def test_attributes_of_a_policy() -> None:
    found = parse_policy("verify ciphers=high exclude=aNULL:MD5 servername=hostname connection_reuse=yes", LEVELS)
    assert (found.wanted.ciphers, found.wanted.exclude, found.server_name) == ("high", ("aNULL", "MD5"), "hostname")
    levels = LEVELS | {"fingerprint": Security(Wanted("fingerprint"), ("ab",), digest="md5")}
    found = parse_policy("fingerprint match=AA:BB|CC:DD match=ee", levels)
    assert (found.match, found.digest) == (("aabb", "ccdd", "ee"), "md5")


@pytest.mark.parametrize(
    "text",
    ["", "dane-only", "strong", "none ciphers=high", "may match=a.example", "secure match", "secure match=",
     "secure tafile=/x", "fingerprint match=aa", "encrypt colour=red"],
)  # fmt: skip
def test_an_entry_that_makes_no_sense_is_never_less_than_it_says(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_policy(text, LEVELS)


WORDS = ["secure", "may", "none", "match=", "match=a", "ciphers=x", "exclude=a:b", "|", ":", ",", "="]


@given(st.text(max_size=80) | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_any_entry_is_a_policy_or_an_error(text: str) -> None:
    try:
        found = parse_policy(text, LEVELS)
    except ValueError:
        return
    assert found.level in LEVELS
