import ssl
from pathlib import Path

import pytest
from msgspec import structs

from postwarden.net.tls import ServerTls, ServerTlsSettings, server_context
from postwarden.net.tls_settings import TlsSettings, TlsSettingsError
from postwarden.testing.certificate import write_certificate
from postwarden.testing.clock import VirtualClock


def make(path: Path, name: str = "mx.example.com") -> str:
    write_certificate(path, name)
    return str(path)


def split(pem: str) -> tuple[str, str]:
    """The same in two files: key, certificate."""
    text = Path(pem).read_text()
    at = text.index("-----BEGIN CERTIFICATE-----")
    key, certificate = Path(f"{pem}.key"), Path(f"{pem}.crt")
    key.write_text(text[:at])
    certificate.write_text(text[at:])
    return str(key), str(certificate)


def shake(
    server: ssl.SSLContext,
    client: ssl.SSLContext | None = None,
    session: ssl.SSLSession | None = None,
    name: str | None = "mx.example.com",
) -> ssl.SSLObject:
    """A handshake in memory; the client's end."""
    if client is None:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
    a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(a, b, server_hostname=name, session=session)
    far = server.wrap_bio(b, a, server_side=True)
    for _ in range(10):
        for end in (near, far):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    far.write(b"x")
    near.read(1)
    return near


def served(tls: ServerTls) -> bytes:
    assert tls.context is not None
    found = shake(tls.context).getpeercert(True)
    assert found is not None
    return found


def test_a_renewed_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    clock, problems = VirtualClock(), []
    pem = make(tmp_path / "mx.pem")
    tls = ServerTls(ServerTlsSettings(TlsSettings(cert_file=pem, key_file=pem)), clock, problems.append)
    before = served(tls)
    make(tmp_path / "new.pem").encode()
    (tmp_path / "new.pem").rename(pem)
    assert served(tls) == before
    clock.advance(2)
    assert served(tls) != before
    assert problems == []


def test_a_renewed_certificate_that_is_broken_is_reported_and_the_old_one_stays(tmp_path: Path) -> None:
    clock, problems = VirtualClock(), []
    pem = make(tmp_path / "mx.pem")
    tls = ServerTls(ServerTlsSettings(TlsSettings(cert_file=pem, key_file=pem)), clock, problems.append)
    before = served(tls)
    Path(pem).write_text("half a file")
    clock.advance(2)
    assert served(tls) == before
    assert len(problems) == 1 and pem in problems[0]
    clock.advance(2)
    assert served(tls) == before and len(problems) == 1


def test_a_certificate_that_comes_later_is_served_from_then_on(tmp_path: Path) -> None:
    clock, problems, pem = VirtualClock(), [], str(tmp_path / "mx.pem")
    tls = ServerTls(ServerTlsSettings(TlsSettings(cert_file=pem, key_file=pem)), clock, problems.append)
    assert tls.context is None and tls.fault == f"TLS certificate: {pem}: No such file or directory"
    Path(pem).write_text("half a file")
    clock.advance(2)
    assert tls.context is None and len(problems) == 1 and problems[0].endswith(": disabling TLS support")
    make(Path(pem))
    clock.advance(2)
    assert served(tls) and tls.fault == "" and len(problems) == 1


def test_of_two_files_the_missing_one_is_named(tmp_path: Path) -> None:
    pem = make(tmp_path / "mx.pem")
    tls = ServerTls(ServerTlsSettings(TlsSettings(cert_file=pem, key_file="/nowhere.key")), VirtualClock(), print)
    assert tls.fault == "TLS certificate: /nowhere.key: No such file or directory"


def test_files_that_the_master_hands_over_are_read_where_they_are(tmp_path: Path) -> None:
    clock = VirtualClock()
    where = {"/etc/mx.pem": make(tmp_path / "one.pem")}
    tls = ServerTls(
        ServerTlsSettings(TlsSettings(cert_file="/etc/mx.pem", key_file="/etc/mx.pem")), clock, print, where
    )
    before = served(tls)
    where["/etc/mx.pem"] = make(tmp_path / "two.pem")
    clock.advance(2)
    assert served(tls) != before


def test_a_ticket_of_one_service_resumes_nothing_at_another(tmp_path: Path) -> None:
    """Postfix, 20260805: the session cache was shared between services of different policies."""
    pem = make(tmp_path / "mx.pem")
    settings = ServerTlsSettings(TlsSettings(protocols=("<=TLSv1.2",), cert_file=pem, key_file=pem))
    smtp = ServerTls(settings, VirtualClock(), print)
    submission = ServerTls(settings, VirtualClock(), print)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    session = shake(smtp.context, client).session
    assert shake(smtp.context, client, session).session_reused
    assert not shake(submission.context, client, session).session_reused


def test_chain_files_with_key_and_certificate_apart(tmp_path: Path) -> None:
    key, certificate = split(make(tmp_path / "mx.pem"))
    both = make(tmp_path / "other.pem")
    server_context(ServerTlsSettings(chain_files=(key, certificate, both)), {})
    server_context(ServerTlsSettings(TlsSettings(cert_file=certificate, key_file=key)), {})


@pytest.mark.parametrize(
    ("order", "text"),
    [
        ("c", "no private key"),
        ("k", "no certificate for this key"),
        ("ck", "no private key"),
        ("n", "No such file"),
        ("e", "neither a certificate nor a private key"),
        ("ok", "KEY_VALUES_MISMATCH|key values mismatch"),
    ],
)
def test_bad_chain_files_are_named(tmp_path: Path, order: str, text: str) -> None:
    key, certificate = split(make(tmp_path / "mx.pem"))
    empty = tmp_path / "empty"
    empty.touch()
    files = {"k": key, "c": certificate, "n": str(tmp_path / "none"), "e": str(empty)}
    if order == "ok":
        other, _ = split(make(tmp_path / "other.pem"))
        chain: tuple[str, ...] = (other, certificate)
    else:
        chain = tuple(files[letter] for letter in order)
    with pytest.raises(TlsSettingsError, match=text) as caught:
        server_context(ServerTlsSettings(chain_files=chain), {})
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "policy",
    [TlsSettings(protocols=("TLSv9",)), TlsSettings(ciphers="best"), TlsSettings(protocols=("!TLSv1.3", ">=TLSv1.3"))],
)
def test_bad_policies(tmp_path: Path, policy: TlsSettings) -> None:
    pem = make(tmp_path / "mx.pem")
    with pytest.raises(TlsSettingsError):
        server_context(ServerTlsSettings(structs.replace(policy, cert_file=pem, key_file=pem)), {})


def test_protocols_are_limited(tmp_path: Path) -> None:
    pem = make(tmp_path / "mx.pem")
    context = server_context(ServerTlsSettings(TlsSettings(protocols=("<=TLSv1.2",), cert_file=pem, key_file=pem)), {})
    assert shake(context).version() == "TLSv1.2"


def test_a_certificate_by_name(tmp_path: Path) -> None:
    usual, other = make(tmp_path / "usual.pem"), make(tmp_path / "other.pem", "other.example")
    problems: list[str] = []
    both = Path(other).read_bytes() + Path(usual).read_bytes()
    found = {"other.example": Path(other).read_bytes(), "both.example": both, "bad.example": b"nonsense"}
    settings = ServerTlsSettings(TlsSettings(cert_file=usual, key_file=usual))
    tls = ServerTls(settings, VirtualClock(), problems.append, named=found.get)
    mine = served(tls)
    for name, expected in (("other.example", False), ("unknown.example", True), ("bad.example", True), (None, True)):
        shown = shake(tls.context, name=name).getpeercert(True)
        assert (shown == mine) is expected, name
    assert shake(tls.context, name="both.example").getpeercert(True) == mine  # of two keys of a kind the last
    assert problems[0].startswith("TLS certificate of bad.example: ")
