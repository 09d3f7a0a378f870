import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from postwarden.net.tls_client import TlsClient, Wanted, client_context
from postwarden.net.tls_settings import TlsSettings, TlsSettingsError
from postwarden.testing.stream import Recorder


def shake(client: ssl.SSLContext, server: ssl.SSLContext) -> str | None:
    """Version that both agree on. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server)
    far = server.wrap_bio(to_server, to_client, server_side=True)

    def step(shake_hands: Callable[[], None]) -> bool:
        try:
            shake_hands()
        except ssl.SSLWantReadError:
            return False
        return True

    for _ in range(5):
        if all([step(near.do_handshake), step(far.do_handshake)]):
            return near.version()
    raise AssertionError("the handshake does not end")


@pytest.fixture(scope="module")
def server() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("other.example").configure_cert(context)
    return context


def test_an_unknown_certificate_is_good_enough(server: ssl.SSLContext) -> None:
    assert shake(client_context(TlsSettings()), server) == "TLSv1.3"


@pytest.mark.parametrize(
    ("protocols", "version"),
    [
        ((">=TLSv1.2", "<=TLSv1.2"), "TLSv1.2"),
        (("!SSLv2", "!SSLv3", "!TLSv1", "!TLSv1.1"), "TLSv1.3"),
        (("TLSv1.2",), "TLSv1.2"),
        (("TLSv1.2", "TLSv1.3"), "TLSv1.3"),
    ],
)
def test_versions(server: ssl.SSLContext, protocols: tuple[str, ...], version: str) -> None:
    assert shake(client_context(TlsSettings(protocols)), server) == version


@pytest.mark.parametrize(
    "bad",
    [
        TlsSettings(("TLSv9",)),
        TlsSettings(("!TLSv1", "!TLSv1.1", "!TLSv1.2", "!TLSv1.3")),
        TlsSettings(ciphers="strong"),
        TlsSettings(cert_file="/does/not/exist.pem"),
    ],
)
def test_bad_settings(bad: TlsSettings) -> None:
    with pytest.raises(TlsSettingsError):
        client_context(bad)


@pytest.mark.parametrize("ciphers", ["high", "medium", "low", "export"])
def test_cipher_grades(server: ssl.SSLContext, ciphers: str) -> None:
    context = client_context(TlsSettings(ciphers=ciphers, exclude=("aNULL", "MD5")))
    names = [cipher["name"] for cipher in context.get_ciphers()]
    assert names and not any("MD5" in name for name in names)
    assert shake(context, server)


def test_our_own_certificate(tmp_path: Path) -> None:
    ca = trustme.CA()
    cert = ca.issue_cert("mx.example.com")
    cert.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("other.example").configure_cert(server)
    ca.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    assert shake(client_context(TlsSettings(cert_file=str(tmp_path / "both.pem"))), server)


def test_levels_that_are_not_ours_are_not_played() -> None:
    class Stream(Recorder):
        started: tuple[object, ...] = ()

        def start_tls(self, context: ssl.SSLContext, *, server_side: bool, server_name: str) -> None:
            self.started = (context.verify_mode, server_side, server_name)

    client = TlsClient(TlsSettings(), TlsSettings((">=TLSv1.2",)))
    for level in ("none", "dane", "dane-only", "invalid", ""):
        stream = Stream()
        assert not client.start(stream, Wanted(level), "")  # type: ignore[arg-type]
        assert stream.started == ()
    assert client.start(stream, Wanted("encrypt"), "mx.example.com")  # type: ignore[arg-type]
    assert stream.started == (ssl.CERT_NONE, False, "mx.example.com")
    assert client.start(stream, Wanted("secure"), "")  # type: ignore[arg-type]
    assert stream.started == (ssl.CERT_REQUIRED, False, "")
    assert not client.start(stream, Wanted("encrypt", ciphers="strong"), "")  # type: ignore[arg-type]
