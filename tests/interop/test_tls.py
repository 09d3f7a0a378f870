"""STARTTLS and wrapper mode with real peers: swaks, smtplib and Postfix on one side, us on the other."""

import os
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from tests.interop.test_large import peak
from tests.interop.test_programs import swaks
from tests.ports import free_port
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import MASTER_CF, Gateway, Sink, running, until

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]
needs_swaks = pytest.mark.skipif(shutil.which("swaks") is None, reason="needs swaks")


class Certificates:
    def __init__(self, base: Path) -> None:
        self.authority = trustme.CA()
        self.cert, self.key = base / "cert.pem", base / "key.pem"
        base.mkdir(exist_ok=True)
        base.chmod(0o755)
        self.renew()

    def renew(self) -> int:
        """A new certificate in place of the old; its serial number."""
        made = self.authority.issue_cert("mx.example.com", "127.0.0.1")
        new = self.cert.with_suffix(".new")
        made.private_key_pem.write_to_path(self.key)
        # Only root may read the key: the master hands it over.
        self.key.chmod(0o600)
        made.cert_chain_pems[0].write_to_path(new)
        os.replace(new, self.cert)
        text = subprocess.run(
            ["openssl", "x509", "-in", self.cert, "-noout", "-serial"], capture_output=True, text=True, check=True
        )
        return int(text.stdout.strip().removeprefix("serial="), 16)

    @property
    def server(self) -> dict[str, str]:
        return {"smtpd_tls_cert_file": str(self.cert), "smtpd_tls_key_file": str(self.key)}

    def client(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "tls")


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


@needs_swaks
def test_starttls_for_swaks(tmp_path: Path, certificates: Certificates, sink: Sink) -> None:
    settings = certificates.server | {"smtpd_tls_security_level": "encrypt", "smtpd_tls_loglevel": "1"}
    words = ("--from", "a@client.example", "--to", "r@sink.example")
    with running(Gateway(tmp_path, sink.port, smtpd_tls_received_header="yes", **settings)) as gateway:
        plain = swaks(gateway.port, *words)
        assert "530 5.7.0 Must issue a STARTTLS command first" in plain.stdout
        sent = swaks(gateway.port, "--tls", *words)
        assert sent.returncode == 0, sent.stdout
        until(lambda: len(sink.messages) == 1)
        assert "TLS connection established from localhost[127.0.0.1]: TLSv1.3 with cipher" in gateway.log()
        assert "proto=ESMTPS" not in gateway.log()
    head = sink.messages[0][2].partition(b"\r\n\r\n")[0]
    assert b"\t(using TLSv1.3 with cipher " in head and b" with ESMTPS id " in head, head


def test_wrapper_mode(tmp_path: Path, certificates: Certificates, sink: Sink) -> None:
    port = free_port()
    master = MASTER_CF + f"127.0.0.1:{port} inet n - n - - smtpd\n -o smtpd_tls_wrappermode=yes\n"
    master += " -o smtpd_client_connection_count_limit=30\n"
    settings = certificates.server | {"smtpd_tls_security_level": "may"}
    with running(Gateway(tmp_path, sink.port, master, **settings)):
        with smtplib.SMTP_SSL("127.0.0.1", port, context=certificates.client(), timeout=20) as client:
            client.ehlo()
            assert "starttls" not in client.esmtp_features
            client.sendmail("a@client.example", ["r@sink.example"], "Subject: wrapped\r\n\r\n" + "x" * 70 + "\r\n")
        until(lambda: len(sink.messages) == 1)


def serial(port: int, context: ssl.SSLContext) -> int:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.starttls(context=context)
        client.noop()
        assert isinstance(client.sock, ssl.SSLSocket)
        return int(str((client.sock.getpeercert() or {})["serialNumber"]), 16)


def test_a_renewed_certificate_is_served_without_a_restart(tmp_path: Path, certificates: Certificates) -> None:
    settings = certificates.server | {"smtpd_tls_security_level": "may"}
    first = certificates.renew()
    with running(Gateway(tmp_path, **settings)) as gateway:
        context = certificates.client()
        assert serial(gateway.port, context) == first
        pids = gateway.pids("receiver")
        second = certificates.renew()
        until(lambda: serial(gateway.port, context) == second)
        certificates.cert.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
        until(lambda: serial(gateway.port, context) and "stays in use" in gateway.log())
        until(lambda: serial(gateway.port, context) == second)
        third = certificates.renew()
        until(lambda: serial(gateway.port, context) == third)
        assert gateway.pids("receiver") == pids


@pytest.mark.parametrize("level", ["may", "encrypt"])
def test_we_use_starttls_with_postfix(tmp_path: Path, certificates: Certificates, sink: Sink, level: str) -> None:
    for name in ("us", "after"):
        (tmp_path / name).mkdir()
    theirs = certificates.server | {"smtpd_tls_security_level": level, "smtpd_tls_received_header": "yes"}
    after = RealPostfix(tmp_path / "after", sink.port, myhostname="after.example.com", **theirs)
    gateway = Gateway(tmp_path / "us", after.port, smtp_tls_security_level=level, smtp_tls_loglevel="1")
    after.start()
    try:
        with running(gateway):
            for n in range(3):
                with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
                    client.sendmail("a@client.example", ["r@sink.example"], f"Subject: {n}\r\n\r\n{'x' * 900}\r\n" * 99)
            until(lambda: len(sink.messages) == 3, 30, gateway.log()[-3000:])
            assert f"TLS connection established to 127.0.0.1[127.0.0.1]:{after.port}: TLSv1.3" in gateway.log()
    finally:
        after.stop()
    assert all(b"(using TLSv1.3 with cipher" in content for _, _, content in sink.messages)


def test_postfix_uses_starttls_with_us(tmp_path: Path, certificates: Certificates, sink: Sink) -> None:
    for name in ("us", "before"):
        (tmp_path / name).mkdir()
    ours = certificates.server | {"smtpd_tls_security_level": "encrypt", "smtpd_tls_received_header": "yes"}
    gateway = Gateway(tmp_path / "us", sink.port, **ours)
    authority = tmp_path / "authority.pem"
    certificates.authority.cert_pem.write_to_path(authority)
    theirs = {
        "smtp_tls_security_level": "secure",
        "smtp_tls_secure_cert_match": "mx.example.com",
        "smtp_tls_CAfile": str(authority),
        "relayhost": f"[127.0.0.1]:{gateway.port}",
        "transport_maps": "",
    }
    before = RealPostfix(tmp_path / "before", myhostname="before.example.com", **theirs)
    before.start()
    try:
        with running(gateway):
            for n in range(3):
                with smtplib.SMTP("127.0.0.1", before.port, timeout=20) as client:
                    client.sendmail("a@client.example", ["r@sink.example"], f"Subject: {n}\r\n\r\n{'x' * 900}\r\n" * 99)
            until(lambda: len(sink.messages) == 3, 30, before.log()[-3000:])
    finally:
        before.stop()
    assert all(b"(using TLSv1.3 with cipher" in content for _, _, content in sink.messages)


def test_encrypt_defers_what_cannot_be_encrypted(tmp_path: Path, sink: Sink) -> None:
    with running(Gateway(tmp_path, sink.port, smtp_tls_security_level="encrypt")) as gateway:
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
            client.sendmail("a@client.example", ["r@sink.example"], "Subject: x\r\n\r\nbody\r\n")
        until(lambda: "status=deferred" in gateway.log())
        assert "dsn=4.7.4, status=deferred (TLS is required, but was not offered by host 127.0.0.1[127.0.0.1])" in (
            gateway.log()
        )
    assert sink.messages == []


def test_a_big_message_over_tls_on_both_sides(tmp_path: Path, certificates: Certificates, sink: Sink) -> None:
    for name in ("us", "after"):
        (tmp_path / name).mkdir()
    after = RealPostfix(
        tmp_path / "after",
        sink.port,
        myhostname="after.example.com",
        smtpd_tls_security_level="may",
        **certificates.server,
    )
    ours = certificates.server | {"smtpd_tls_security_level": "may", "smtp_tls_security_level": "encrypt"}
    gateway = Gateway(tmp_path / "us", after.port, **ours)
    body = ("0123456789abcdef" * 4 + "\r\n") * 120_000
    after.start()
    try:
        with running(gateway):
            high = peak(gateway)
            with smtplib.SMTP("127.0.0.1", gateway.port, timeout=60) as client:
                client.starttls(context=certificates.client())
                client.sendmail("a@client.example", ["r@sink.example"], "Subject: big\r\n\r\n" + body)
            until(lambda: "status=sent" in gateway.log(), 30)
            grown = {pid: value - high[pid] for pid, value in peak(gateway).items()}
            until(lambda: len(sink.messages) == 1, 30, after.log()[-3000:])
    finally:
        after.stop()
    assert sink.messages[0][2].partition(b"\r\n\r\n")[2] == body.encode()
    assert all(value < 8 << 20 for value in grown.values()), grown
