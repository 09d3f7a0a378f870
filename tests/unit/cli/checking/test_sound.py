"""No false alarms: configurations with which nothing is wrong."""

import os
import re
from pathlib import Path

import pytest
from tests.ports import free_port

from postwarden.cli.checking.everything import check
from postwarden.cli.checking.findings import rendered
from postwarden.config.embedded import MASTER_CF
from postwarden.config.settings import load

README = (Path(__file__).parents[4] / "README.md").read_text()
DEBIAN = """\
smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)
biff = no
append_dot_mydomain = no
readme_directory = no
compatibility_level = 3.6
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
myhostname = mail.example.com
alias_maps = hash:/etc/aliases
alias_database = hash:/etc/aliases
mydestination = $myhostname, example.com, localhost.example.com, , localhost
relayhost =
mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128
mailbox_size_limit = 0
recipient_delimiter = +
inet_interfaces = all
inet_protocols = all
"""
"""As its installer writes it, without TLS."""


def block(before: str) -> str:
    """The indented lines that follow `before` in the README."""
    text = README.partition(before)[2]
    assert text, before
    lines = re.match(r"\n*((?:    .*\n|\n)+)", text)
    assert lines
    return re.sub(r"(?m)^    ", "", lines[1])


QUICK = re.search(r"main\.cf <<'EOF'\n(.*?)\n    EOF", README, re.DOTALL)
assert QUICK
FIRST = re.sub(r"(?m)^    ", "", QUICK[1]) + "\n"
RELAY = block("To relay a domain to an internal server:\n")
MASTER = block("and a master.cf such as\n")
GATEWAY = """\
relay_domains = example.org, example.net
relay_recipient_maps = hash:recipients
transport_maps = hash:transport
mydestination =
local_recipient_maps =
local_transport = error:local mail delivery is disabled
mynetworks = 127.0.0.0/8 10.0.0.0/8
smtpd_recipient_restrictions = reject_unauth_destination, reject_non_fqdn_recipient
smtpd_helo_required = yes
virtual_alias_maps = hash:virtual
virtual_alias_domains = alias.example.org
masquerade_domains = example.com
message_size_limit = 50000000
disable_vrfy_command = yes
"""
MAILBOXES = """\
virtual_mailbox_domains = box.example.net
virtual_mailbox_maps = hash:boxes
virtual_mailbox_base = /var/mail/vhosts
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
home_mailbox = Maildir/
"""
TABLES = {
    "recipients": "a@example.org x\n@example.net x\n",
    "transport": "example.org smtp:[10.0.0.1]\nexample.net relay:[10.0.0.2]:2525\n.example.net :\n",
    "virtual": "info@alias.example.org a@example.org, b@example.net\npostmaster postmaster\n",
    "boxes": "a@box.example.net box.example.net/a/\n",
    "aliases": "root: alice\nmailer-daemon: postmaster\npostmaster: root\n",
}


def said(etc: Path, main_cf: str, master_cf: str, severities: tuple[str, ...] = ("error", "warning")) -> list[str]:
    etc.chmod(0o755)
    for name, text in TABLES.items():
        (etc / name).write_text(text)
        (etc / name).chmod(0o644)
    for name in ("queue", "data"):
        (etc / name).mkdir(mode=0o755, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(etc / "data", 8, 8)
    main_cf = main_cf.replace("hash:/etc/aliases", f"hash:{etc}/aliases")
    own = f"queue_directory = {etc}/queue\ndata_directory = {etc}/data\nmail_owner = mail\n"
    (etc / "main.cf").write_text(main_cf + own)
    # Somebody may have port 25 here, and any other.
    (etc / "master.cf").write_text(re.sub(r"(?m)^(?:smtp|127\.0\.0\.1:2525)(\s+inet)", rf"{free_port()}\1", master_cf))
    found = check(load(etc), ask=False)
    return [rendered(f) for f in found if f.severity in severities]


@pytest.mark.parametrize(
    "main_cf",
    [FIRST, FIRST + RELAY, DEBIAN, DEBIAN + MAILBOXES, FIRST.replace("$myhostname, ", "") + GATEWAY],
    ids=["readme", "relay", "debian", "mailboxes", "gateway"],
)
@pytest.mark.parametrize("master_cf", [MASTER_CF.decode(), MASTER + "virtual unix - n n - - virtual\n"])
def test_nothing_is_wrong_with(tmp_path: Path, main_cf: str, master_cf: str) -> None:
    assert [
        line for line in said(tmp_path, main_cf, master_cf) if "overriding" not in line and "already" not in line
    ] == []


def test_the_first_configuration_of_the_readme_needs_no_note(tmp_path: Path) -> None:
    assert said(tmp_path, FIRST, MASTER, ("error", "warning", "note")) == []


def test_names_of_the_system_are_what_they_are(tmp_path: Path) -> None:
    level = "compatibility_level = 3.6\n"
    assert [line for line in said(tmp_path, level, MASTER_CF.decode()) if "myhostname" not in line] == []
