"""Every default, expanded, at every level of compatibility: equal to the real postconf's."""

import os
import subprocess
from pathlib import Path

import pytest

from postwarden.config.parameters import TABLE
from postwarden.config.settings import load

POSTCONF = "/usr/sbin/postconf"

pytestmark = [
    pytest.mark.postfix,
    pytest.mark.skipif(not os.path.exists(POSTCONF), reason="Debian's postfix is not installed"),
]

OTHERS = (
    "smtpd_per_record_deadline = yes\nlmtp_per_record_deadline = yes\nfallback_relay = [x.example]\n"
    "virtual_maps = hash:/v\nmydomain = other.example\nmulti_instance_name = mi\nauthorized_verp_clients = 192.0.2.1\n"
    "postscreen_whitelist_interfaces = !192.0.2.1, static:all\npostscreen_blacklist_action = drop\n"
    "smtpd_client_connection_limit_exceptions = 192.0.2.0/24\ntlsproxy_client_level = may\nlmtp_tls_CAfile = /x\n"
)
"""Older names, and what other defaults are made of."""

DIFFERENT = {"alias_maps", "local_recipient_maps", "proxy_read_maps", "process_id", "process_name"} | {
    "smtpd_forbid_bare_newline"
}
"""NIS is no default of ours; of the process; the newer default."""


@pytest.mark.parametrize("level", ["0", "1", "2", "3.5", "3.6", "3.7", "9999"])
@pytest.mark.parametrize("lines", ["", OTHERS], ids=["alone", "others"])
def test_expanded(tmp_path: Path, level: str, lines: str) -> None:
    (tmp_path / "main.cf").write_text(f"compatibility_level = {level}\n{lines}")
    (tmp_path / "master.cf").write_text("")
    for name in ("main.cf", "master.cf"):
        os.utime(tmp_path / name, (0, 0))
    words = [POSTCONF, "-c", str(tmp_path), "-x"]
    printed = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout
    settings = load(tmp_path)
    theirs = {name: " ".join(value.split()) for name, _, value in (row.partition(" =") for row in printed.splitlines())}
    assert len(theirs) > 800
    shown = {name: " ".join(settings.text(name).split()) for name in theirs}
    different = {name: (shown[name], theirs[name]) for name in theirs if shown[name] != theirs[name]}
    assert set(different) <= DIFFERENT, different
    assert {name for name in theirs if name not in TABLE} <= {line.split(" ")[0] for line in OTHERS.splitlines()}
