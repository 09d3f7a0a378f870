"""master.cf at work: services of all kinds, their own settings, and what changes under stress."""

import smtplib
import socket
import ssl
import subprocess
from collections.abc import Iterator

import pytest
from cryptography import x509
from tests.ports import free_port
from tests.whole import MASTER_CF, PROGRAM, Gateway, running

from postwarden.testing.certificate import write_certificate

pytestmark = [pytest.mark.slow]

ENTRIES = """\
PORT1 inet n - n - 2 smtpd
 -o smtpd_banner=plain -o{smtpd_hard_error_limit=${stress?{1}:{20}}} -o smtpd_error_sleep_time=0
# a comment in between
 -o { smtpd_client_restrictions = permit_mynetworks, reject }
127.0.0.1:PORT2 inet n - y 60 - smtpd -v -o smtpd_banner=$name -o name=second
[127.0.0.1]:PORT3 inet n - n - - smtpd
 -o syslog_name=postfix/submissions
 -o smtpd_tls_wrappermode=yes
 -o smtpd_banner=wrapped
localhost:PORT4 inet n - n 1000? 0 smtpd -o smtpd_tls_security_level=encrypt -o smtpd_banner=fourth
waiting pass - - n - - smtpd
pickup fifo n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr fifo n - n 300? 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
postlog unix-dgram n - n - 1 postlogd
mine unix - - n - - smtp
 -o smtp_helo_name=mine.example
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    base = tmp_path_factory.mktemp("services")
    pem = base / "cert.pem"
    write_certificate(pem, "mx.example.com")
    ports = [free_port() for _ in range(4)]
    entries = ENTRIES.replace("{", "{{").replace("}", "}}")
    for n, port in enumerate(ports, 1):
        entries = entries.replace(f"PORT{n}", str(port))
    made = Gateway(base, 0, MASTER_CF + entries, smtpd_tls_chain_files=str(pem), tls_server_sni_maps=f"hash:{base}/sni")
    write_certificate(base / "other.pem", "other.example")
    (base / "sni").write_text(f"other.example {base}/other.pem\n.other.example {base}/other.pem\n")
    subprocess.run([PROGRAM, "postmap", "-c", made.etc, "-F", f"hash:{base}/sni"], check=True, timeout=30)
    with running(made):
        yield ports


def banner(port: int) -> str:
    with smtplib.SMTP(timeout=20) as client:
        return client.connect("127.0.0.1", port)[1].decode()


def test_each_listener_has_its_own_settings(gateway: list[int]) -> None:
    assert banner(gateway[0]) == "plain"
    assert banner(gateway[1]) == "second"
    assert banner(gateway[3]) == "fourth"


def test_wrapped_and_enforced_tls(gateway: list[int]) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with smtplib.SMTP_SSL("127.0.0.1", gateway[2], timeout=20, context=context) as client:
        assert client.ehlo()[0] == 250
    with smtplib.SMTP("127.0.0.1", gateway[3], timeout=20) as client:
        client.ehlo()
        assert client.mail("a@example.org")[0] == 530
        client.starttls(context=context)
        client.ehlo()
        assert client.mail("a@example.org")[0] == 250


def shown(port: int, name: str) -> str:
    """The name in the certificate that a client gets who asks for `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    with plain, context.wrap_socket(plain, server_hostname=name) as tls:
        der = tls.getpeercert(True)
    assert der is not None
    return x509.load_der_x509_certificate(der).subject.rfc4514_string()


def test_certificates_by_name(gateway: list[int]) -> None:
    assert shown(gateway[2], "mx.example.com") == "CN=mx.example.com"
    assert shown(gateway[2], "other.example") == "CN=other.example"
    assert shown(gateway[2], "a.b.other.example") == "CN=other.example"
    assert shown(gateway[2], "unknown.example") == "CN=mx.example.com"


def test_under_stress_other_values_hold(gateway: list[int]) -> None:
    """maxproc 2: with two sessions the service is full, and the second one has one error, not twenty."""
    with smtplib.SMTP("127.0.0.1", gateway[0], timeout=20) as first:
        first.ehlo()
        with smtplib.SMTP("127.0.0.1", gateway[0], timeout=20) as second:
            second.ehlo()
            third = smtplib.SMTP(timeout=20)
            assert third.connect("127.0.0.1", gateway[0]) == (
                421,
                b"4.3.2 mx.example.com Error: all server ports are busy",
            )
            third.close()
            assert second.docmd("NONSENSE")[0] in (421, 500)
            with pytest.raises(smtplib.SMTPServerDisconnected):
                for _ in range(2):
                    assert second.docmd("NONSENSE")[0] == 421
        assert [first.docmd("NONSENSE")[0] for _ in range(3)] == [500] * 3
        assert first.noop()[0] == 250
