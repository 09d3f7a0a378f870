"""smtp_tls_policy_maps and the levels that look at certificates: we and the real smtp(8), at the same servers."""

import base64
import hashlib
import re
import smtplib
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme
from tests.ports import free_port
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import MASTER_CF, Gateway, Sink, running, until

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]

EVIL = "00" * 32
RESULT = re.compile(r" to=<(\w+)@\w+\.example>,.*, dsn=([\d.]+), status=(\w+) \((.*)\)$", re.M)
CONNECTION = re.compile(r"(\w+) TLS connection established to 127\.0\.0\.1\[127\.0\.0\.1\]:(\d+): (\S+) with")


def fingerprints(certificate: Path) -> tuple[str, str]:
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    words = ["openssl", "x509", "-in", str(certificate), "-noout", "-pubkey"]
    key = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    key = "".join(key.splitlines()[1:-1])
    return hashlib.sha256(der).hexdigest(), hashlib.sha256(base64.b64decode(key)).hexdigest()


def policies(certificate: Path) -> dict[str, str]:
    """By local part: the policy of its destination."""
    whole, key = fingerprints(certificate)
    return {
        "named": "secure match=mx.example.com",
        "below": "secure match=.example.com",
        "nexthop": "secure match=nexthop",
        "dots": "secure match=dot-nexthop:.mx.example.com",
        "hostname": "verify",
        "whole": f"fingerprint match={':'.join(whole[n : n + 2] for n in range(0, 64, 2)).upper()}",
        "key": f"fingerprint match={EVIL}|{key}",
        "evil": f"fingerprint match={EVIL}",
        "old": "encrypt protocols=TLSv1.2 ciphers=high exclude=CHACHA20:aNULL",
        "older": "may protocols=TLSv1.1",
        "plain": "none",
        "wrong": "strong",
        "attribute": "encrypt colour=red",
        "untrusted": "secure match=mx.example.com",
    }


def told(log: str) -> dict[str, tuple[str, str, str]]:
    log = re.sub(r"queued as \w+", "queued as X", log)
    return {name: (dsn, status, text) for name, dsn, status, text in RESULT.findall(log) if status != "expired"}


def connections(log: str) -> set[tuple[str, str, str]]:
    return set(CONNECTION.findall(log))


def test_the_same_servers_are_the_right_ones(tmp_path: Path) -> None:
    authority = trustme.CA()
    cert, key, roots = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "roots.pem"
    made = authority.issue_cert("mx.example.com", "127.0.0.1")
    made.private_key_pem.write_to_path(key)
    made.cert_chain_pems[0].write_to_path(cert)
    authority.cert_pem.write_to_path(roots)
    for name in ("us", "before", "after"):
        (tmp_path / name).mkdir()
    table = policies(cert)
    ports = {name: free_port() for name in table}
    sink = Sink()
    after = RealPostfix(
        tmp_path / "after", sink.port, smtpd_tls_security_level="may", smtpd_tls_cert_file=str(cert),
        smtpd_tls_key_file=str(key), myhostname="after.example.com",
        transport_maps=f"static:smtp:[127.0.0.1]:{sink.port}", relay_domains="static:all",
    )  # fmt: skip
    listeners = "".join(f"127.0.0.1:{port} inet n - n - - smtpd\n" for port in ports.values())
    with (after.etc / "master.cf").open("a") as master:
        master.write(listeners)
    routes, levels = tmp_path / "routes", tmp_path / "levels"
    transports = {name: "untrusting" if name == "untrusted" else "smtp" for name in table}
    routes.write_text("".join(f"{n}@sink.example {transports[n]}:[127.0.0.1]:{port}\n" for n, port in ports.items()))
    levels.write_text("".join(f"[127.0.0.1]:{ports[name]} {policy}\n" for name, policy in table.items()))
    settings = {
        "transport_maps": f"texthash:{routes}",
        "smtp_tls_policy_maps": f"texthash:{levels}",
        "smtp_tls_CAfile": str(roots),
        "smtp_tls_security_level": "may",
        "smtp_tls_loglevel": "1",
        "relay_domains": "sink.example",
    }
    extra = "untrusting unix - - n - - smtp\n -o smtp_tls_CAfile=\n"
    gateway = Gateway(tmp_path / "us", 0, MASTER_CF + extra, **settings)
    before = RealPostfix(tmp_path / "before", myhostname="mx.example.com", **settings)
    with (before.etc / "master.cf").open("a") as master:
        master.write(extra)
    after.start()
    before.start()
    try:
        with running(gateway):
            for port in (gateway.port, before.port):
                with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                    for name in table:
                        client.sendmail("a@client.example", [f"{name}@sink.example"], "Subject: x\r\n\r\nx\r\n")
            until(lambda: len(told(gateway.log())) == len(table), 30, gateway.log()[-3000:])
            until(lambda: len(told(before.log())) == len(table), 30, before.log()[-3000:])
    finally:
        before.stop()
        after.stop()
        sink.close()
    ours, theirs = told(gateway.log()), told(before.log())
    assert ours == theirs
    assert ours["named"][1] == ours["key"][1] == ours["old"][1] == "sent"
    # Postfix says Trusted of a server that nobody asked it to trust, where it could; we say it where we looked.
    verified = {c for c in connections(before.log()) if c[0] == "Verified"}
    assert {c for c in connections(gateway.log()) if c[0] == "Verified"} == verified
