import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from postwarden.wire.x509 import public_key


def certificate() -> x509.Certificate:
    return x509.load_pem_x509_certificate(trustme.CA().issue_cert("mx.example.com").cert_chain_pems[0].bytes())


FOUND = certificate()
DER = FOUND.public_bytes(serialization.Encoding.DER)


def test_the_key_is_what_cryptography_says() -> None:
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    assert public_key(DER) == FOUND.public_key().public_bytes(serialization.Encoding.DER, info)


@given(st.integers(0, len(DER) - 1), st.binary(max_size=4))
def test_what_is_no_certificate_has_none_or_some_bytes_of_it(place: int, junk: bytes) -> None:
    broken = DER[:place] + junk
    assert public_key(broken) in broken
    assert public_key(DER[:place] + junk + DER[place + len(junk) :]) in DER[:place] + junk + DER[place + len(junk) :]


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    assert public_key(data) in data
