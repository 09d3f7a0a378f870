import datetime
import time
from pathlib import Path

import pytest
import trustme

from postwarden.cli.checking import certificates
from postwarden.cli.checking.everything import check
from postwarden.config.settings import load
from postwarden.testing.config import settings

LISTENER = "smtp inet n - n - - smtpd\n"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    now = datetime.datetime.now(datetime.UTC)
    for name, days in (("good", 90), ("soon", 3), ("old", -2)):
        leaf = authority.issue_cert(
            "mx.example.com", not_before=now - datetime.timedelta(30), not_after=now + datetime.timedelta(days)
        )
        (place / f"{name}.pem").write_bytes(leaf.cert_chain_pems[0].bytes())
        (place / f"{name}.key").write_bytes(leaf.private_key_pem.bytes())
        (place / f"{name}.key").chmod(0o600)
    return place


def said(main_cf: str, master_cf: str = LISTENER, now: float | None = None) -> list[tuple[str, int, str]]:
    found = certificates.findings(settings(main_cf, master_cf), now)
    return [(f.severity, f.origin.line, f.what) for f in found]


def pair(directory: Path, name: str) -> str:
    return f"smtpd_tls_cert_file = {directory}/{name}.pem\nsmtpd_tls_key_file = {directory}/{name}.key\n"


def test_nothing_is_said_of_a_good_one(directory: Path) -> None:
    assert said("") == []
    assert said("smtpd_tls_cert_file = none\n") == []
    assert said(pair(directory, "good")) == []
    assert said(f"smtpd_tls_chain_files = {directory}/good.key, {directory}/good.pem\n") == []


def test_what_is_missing_expired_or_soon_will_be(directory: Path) -> None:
    assert said("smtpd_tls_cert_file = /nonexistent/x.pem\n") == [
        ("error", 1, "smtpd_tls_cert_file: /nonexistent/x.pem: No such file or directory")
    ]
    ((severity, line, what),) = said(pair(directory, "old"))
    assert (severity, line) == ("error", 1) and f"{directory}/old.pem expired on 20" in what
    ((severity, _, what),) = said(pair(directory, "soon"))
    assert severity == "warning" and f"{directory}/soon.pem expires on 20" in what
    ((severity, _, what),) = said(pair(directory, "good"), now=time.time() - 90 * 86400)
    assert severity == "error" and "is valid from 20" in what


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_a_key_that_others_may_read(directory: Path, mode: int) -> None:
    key = directory / "good.key"
    key.chmod(mode)
    try:
        ((severity, line, what),) = said(pair(directory, "good"))
        assert (severity, line) == ("warning", 2) and "everybody on this machine may" in what
    finally:
        key.chmod(0o600)


def test_overrides_and_clients_are_looked_at_once(directory: Path) -> None:
    master = LISTENER + "smtps inet n - n - - smtpd -o smtpd_tls_cert_file=/nonexistent/y\nsmtp unix - - n - - smtp\n"
    found = said("smtp_tls_cert_file = /nonexistent/x\nsmtp_tls_CAfile = /nonexistent/ca\n", master)
    assert [line for _, line, _ in found] == [2, 1, 2], found
    assert {what.partition(":")[0] for _, _, what in found} == {
        "smtpd_tls_cert_file", "smtp_tls_cert_file", "smtp_tls_CAfile",
    }  # fmt: skip


def test_a_key_of_another_certificate_is_said_by_who_loads_it(directory: Path, tmp_path: Path) -> None:
    tls = f"smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {directory}/good.pem\n"
    (tmp_path / "main.cf").write_text(f"{tls}smtpd_tls_key_file = {directory}/soon.key\ncompatibility_level = 3.6\n")
    (tmp_path / "master.cf").write_text("127.0.0.1:2526 inet n - n - - smtpd\n")
    found = [f for f in check(load(tmp_path), ask=False) if "mismatch" in f.what.lower()]
    assert [(f.severity, f.origin.file) for f in found] == [("error", f"{tmp_path}/main.cf")], found


@pytest.mark.parametrize("name", ["cert_file", "key_file", "chain_files", "eccert_file", "CAfile"])
def test_what_is_not_there_is_said_once(directory: Path, tmp_path: Path, name: str) -> None:
    tls = "" if name == "chain_files" else pair(directory, "good")
    tls = "".join(line for line in tls.splitlines(True) if f"_{name} =" not in line)
    (tmp_path / "main.cf").write_text(
        f"smtpd_tls_{name} = /nonexistent/x\nsmtpd_tls_security_level = may\n{tls}compatibility_level = 3.6\n"
    )
    (tmp_path / "master.cf").write_text("127.0.0.1:2526 inet n - n - - smtpd\n127.0.0.1:2527 inet n - n - - smtpd\n")
    found = [f for f in check(load(tmp_path), ask=False) if "/nonexistent/x" in f.what]
    assert [(f.severity, f.origin.line, f.what) for f in found] == [
        ("error", 1, f"smtpd_tls_{name}: /nonexistent/x: No such file or directory")
    ]
    assert "refused" in found[0].why
