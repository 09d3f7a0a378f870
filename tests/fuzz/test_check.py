"""Whatever a configuration and its tables hold: check gives findings of one line each, and an exit code that fits."""

import contextlib
import io
import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.rounds import rounds

from postwarden.cli import check
from postwarden.config.parameters import TABLE

_NAMES = """
    alias_maps content_filter data_directory default_transport disable_dns_lookups inet_interfaces inet_protocols
    known_tcp_ports local_transport mail_owner mailbox_command mailbox_transport mydestination myhostname mynetworks
    mynetworks_style myorigin queue_directory relay_domains relay_transport relayhost
    sender_dependent_relayhost_maps smtpd_authorized_xclient_hosts smtp_fallback_relay smtp_sasl_password_maps
    smtp_tls_CAfile
    smtpd_recipient_restrictions smtpd_relay_restrictions smtpd_restriction_classes smtpd_tls_cert_file
    smtpd_tls_chain_files soft_bounce transport_maps virtual_alias_domains virtual_alias_maps
    virtual_mailbox_domains virtual_transport compatibility_level nosuch x_destination_rate_delay
    postwarden_dns_servers
"""
NAMES = st.sampled_from(_NAMES.split()) | st.sampled_from(sorted(TABLE))
_PIECES = st.sampled_from(
    [
        " ", ",", "$", "${", "}", "{", ":", "[", "]", "!", "/", "\"", "'", "|", "=", "hash:table", "pcre:table",
        "cidr:table", "inline:{a=b}", "inline:{", "static:OK", "static:", "proxy:hash:table",
        "unionmap:{hash:table}", "0.0.0.0/0", "::/0", "[::ffff:]/104", "10.0.0.1/8", "10.0.0.0/8", "fe80::%lo",
        "localhost", "all", "loopback-only", "error", "smtp", "relay:", "lmtp:unix:private/x", "lmtp:inet:",
        "smtp:[gw.example]:25", ":", "a@b.example", "yes", "no", "3.6", "/etc/passwd", "/", "/nonexistent",
        "permit", "reject", "check_sender_access", "warn_if_reject", "reject_unauth_destination", "ä", "\x7f",
        "$myhostname", "$nosuch", "${nosuch?x}", "99999999999999999999", "-1", "5d", ".", "..", "*",
        "mysql:/etc/passwd",
    ]
)  # fmt: skip
VALUES = st.lists(_PIECES, max_size=6).map("".join) | st.text(max_size=12)
LINES = st.lists(st.builds("{} = {}".format, NAMES, VALUES), max_size=8).map("\n".join)
SERVICES = st.lists(
    st.builds(
        "{} {} - - - - - {} {}".format,
        st.sampled_from(["2526", "127.0.0.1:2526", "nosuch", "[::1]:2526", "x", "999999", "nobody.invalid:1", "smtp"]),
        st.sampled_from(["inet", "unix", "pass", "fifo"]),
        st.sampled_from(["smtpd", "smtp", "lmtp", "pipe", "cleanup", "local", "error", "postscreen", "nosuch"]),
        st.builds("-o {}={}".format, NAMES, VALUES) | st.sampled_from(["", "user=nobody argv=/x", "argv=", "{ -o }"]),
    ),
    max_size=3,
).map("\n".join)  # fmt: skip
TABLES = st.lists(
    st.sampled_from(["a", "b", "@", " ", "\n", ":", "smtp:", "ä", "#", "\x00", "/a/", "if", "x.example"])
).map("".join)
FINDING = re.compile(r"[^\n]*?(?::\d+)?: (error|warning|note): [^\n]+")


@settings(suppress_health_check=list(HealthCheck), max_examples=rounds(25), deadline=None)
@given(LINES, SERVICES, TABLES)
def test_check_answers(tmp_path: Path, main_cf: str, master_cf: str, table: str) -> None:
    own = f"queue_directory = {tmp_path}/queue\ndata_directory = {tmp_path}/data\n"
    (tmp_path / "main.cf").write_text(own + main_cf + "\n", errors="replace")
    (tmp_path / "master.cf").write_text(master_cf + "\n", errors="replace")
    (tmp_path / "table").write_text(table)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = check.main("check", [str(tmp_path), "-n"])
    lines = [FINDING.fullmatch(line) for line in out.getvalue().split("\n")[:-1]]
    assert all(lines), out.getvalue()
    assert code == any(line[1] == "error" for line in lines if line)
    assert err.getvalue() == ""
