import ssl

import pytest

from postwarden.net.tls_settings import (
    TlsLibrary,
    TlsSettings,
    TlsSettingsError,
    limit,
    load_authorities,
    load_certificates,
    option_bits,
    workaround_bits,
)

V = ssl.TLSVersion


def made(settings: TlsSettings, **flags: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    limit(context, settings, **flags)
    return context


@pytest.mark.parametrize(
    ("protocols", "low", "high"),
    [
        ((), V.TLSv1, V.TLSv1_3),
        ((">=TLSv1.2",), V.TLSv1_2, V.TLSv1_3),
        ((">=TLSv1.1:<=TLSv1.2",), V.TLSv1_1, V.TLSv1_2),
        (("!SSLv2:!SSLv3:!TLSv1",), V.TLSv1_1, V.TLSv1_3),
        (("!TLSv1.1",), V.TLSv1, V.TLSv1),
        (("TLSv1.2", "TLSv1.3"), V.TLSv1_2, V.TLSv1_3),
        ((">=0303",), V.TLSv1_2, V.TLSv1_3),
        ((">=0x0302", "<=303"), V.TLSv1_1, V.TLSv1_2),
    ],
)
def test_versions(protocols: tuple[str, ...], low: ssl.TLSVersion, high: ssl.TLSVersion) -> None:
    context = made(TlsSettings(protocols))
    assert (context.minimum_version, context.maximum_version) == (low, high)


@pytest.mark.parametrize("word", ["TLSv9", ">=0399", ">=xyz", "0303", ">="])
def test_versions_that_are_none(word: str) -> None:
    with pytest.raises(TlsSettingsError):
        made(TlsSettings((word,)))


def names(context: ssl.SSLContext) -> set[str]:
    return {cipher["name"] for cipher in context.get_ciphers()}


def test_cipher_lists_of_the_operator() -> None:
    library = TlsLibrary({"high": "ECDHE-RSA-AES128-GCM-SHA256"})
    found = names(made(TlsSettings(ciphers="HIGH", library=library)))
    assert {name for name in found if not name.startswith("TLS_")} == {"ECDHE-RSA-AES128-GCM-SHA256"}
    with pytest.raises(TlsSettingsError, match="medium"):
        made(TlsSettings(library=library))
    with pytest.raises(ssl.SSLError):
        made(TlsSettings(ciphers="high", library=TlsLibrary({"high": "nonsense"})))


def test_exclusions_may_be_joined_by_colons() -> None:
    found = names(made(TlsSettings(exclude=("AES128:CHACHA20",))))
    assert not any("AES128" in name for name in found if not name.startswith("TLS_"))


def test_anonymous_ciphers_only_where_nobody_looks_at_a_certificate() -> None:
    anonymous = {"AECDH-AES256-SHA", "ADH-AES256-GCM-SHA384"}
    assert names(made(TlsSettings(), weak=True)) & anonymous
    assert not names(made(TlsSettings(), weak=True, anonymous=False)) & anonymous


def test_options() -> None:
    assert option_bits(("NO_COMPRESSION", "no_ticket")) == (ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET, [])
    assert option_bits(("0x4000",)) == (ssl.OP_NO_TICKET, [])
    assert option_bits(("NO_SUCH", "0xZZ", "0x")) == (0, ["NO_SUCH", "0xZZ", "0x"])
    assert workaround_bits(("LEGACY_SERVER_CONNECT", "TLS_D5_BUG", "x")) == (4, ["x"])
    library = TlsLibrary(options=ssl.OP_NO_TICKET, strict=4)
    context = made(TlsSettings(library=library))
    assert context.options & ssl.OP_NO_TICKET and not context.options & 4


def test_authorities_that_can_not_be_read() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(TlsSettingsError, match="/no/such"):
        load_authorities(context, TlsSettings(ca_file="/no/such"), {})
    load_authorities(context, TlsSettings(ca_path="/no/such"), {})
    load_authorities(context, TlsSettings(library=TlsLibrary(default_authorities=True)), {})


def test_a_certificate_that_is_not_there_is_named_without_numbers() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(TlsSettingsError) as caught:
        load_certificates(context, [("/nosuch.pem", "")], {}, "TLS certificate")
    assert str(caught.value) == "TLS certificate: /nosuch.pem: No such file or directory"


def test_pairs() -> None:
    settings = TlsSettings(cert_file="a", key_file="b", more=(("", ""), ("none", "none"), ("c", "d")))
    assert settings.pairs == (("a", "b"), ("c", "d"))
    assert TlsSettings(cert_file="none", key_file="none").pairs == ()
