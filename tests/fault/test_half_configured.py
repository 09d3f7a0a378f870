"""What a configuration names and the machine does not have: the rest works, and no door opens."""

import os
import smtplib
import socket
import ssl
from pathlib import Path

import pytest
from tests.whole import MASTER_CF, Gateway, Sink, free_port, running, until

from postwarden.testing.certificate import write_certificate

pytestmark = [pytest.mark.slow]


def first_bytes(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        return sock.recv(100)


def secured(port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        try:
            client.starttls(context=context)
        except smtplib.SMTPResponseException as error:
            assert (error.smtp_code, error.smtp_error) == (454, b"4.7.0 TLS not available due to local problem")
            return False
        client.ehlo()
        return client.mail("a@client.example")[0] == 250


def test_a_certificate_and_daemons_that_are_not_there(tmp_path: Path) -> None:
    sink = Sink()
    wrapped, must, nobody = (free_port() for _ in range(3))
    master = MASTER_CF + (
        f"127.0.0.1:{wrapped} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n"
        f"127.0.0.1:{must} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt\n"
        f"127.0.0.1:{nobody} inet n - n - - otherd\n"
        "gone unix - - n - - nonesuchd\n"
        "must unix - - n - - smtp -o smtp_tls_security_level=encrypt\n"
    )
    pem = tmp_path / "tls.pem"
    settings = {
        "smtpd_tls_security_level": "may",
        "smtpd_tls_cert_file": str(pem),
        "smtp_tls_security_level": "may",
        "smtp_tls_cert_file": "/nowhere.pem",
        "relay_domains": "sink.example gone.example must.example",
        "transport_maps": f"inline:{{sink.example=smtp:[127.0.0.1]:{sink.port}, gone.example=gone:, "
        f"must.example=must:[127.0.0.1]:{sink.port}}}",
    }
    gateway = Gateway(tmp_path, 0, master, **settings)
    with running(gateway):
        log = gateway.log()
        for line, text in (
            (12, f"127.0.0.1:{nobody}/inet: unknown command otherd"),
            (13, "gone/unix: unknown command"),
        ):
            assert f"warning: {gateway.etc}/master.cf:{line}: service {text}" in log, log
        assert f"TLS certificate: {pem}: No such file or directory: disabling TLS support" in log, log
        assert not secured(gateway.port) and not secured(must)
        assert first_bytes(wrapped) == b""
        with smtplib.SMTP("127.0.0.1", must, timeout=20) as client:
            client.ehlo()
            assert client.mail("a@client.example")[0] == 530
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
            recipients = [f"r@{name}.example" for name in ("gone", "sink", "must")]
            client.sendmail("a@client.example", recipients, "Subject: x\r\n\r\nx\r\n")
        until(lambda: len(sink.messages) == 1 and gateway.log().count("status=deferred") == 2, 60)
        assert "status=deferred (TLS is required, but was not offered by host 127.0.0.1[127.0.0.1])" in gateway.log()
        assert "TLS client: /nowhere.pem: No such file or directory: disabling TLS support" in gateway.log()
        assert "to=<r@gone.example>, relay=none" in gateway.log() and "(mail transport unavailable)" in gateway.log()
        # Root's alone, as a key is: it has to be handed over.
        write_certificate(tmp_path / "new.pem", "mx.example.com")
        (tmp_path / "new.pem").chmod(0o600)
        os.rename(tmp_path / "new.pem", pem)
        until(lambda: secured(gateway.port) and secured(must), 60)
    sink.close()
