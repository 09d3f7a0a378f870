from pathlib import Path

import pytest

from postwarden.cli.checking import relaying
from postwarden.testing.config import settings

LISTENER = "smtp inet n - n - - smtpd\n"


def said(main_cf: str, master_cf: str = LISTENER) -> list[tuple[str, int, str]]:
    return [(f.severity, f.origin.line, f.what) for f in relaying.findings(settings(main_cf, master_cf))]


@pytest.mark.parametrize(
    "main_cf",
    [
        "",
        "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n",
        "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination\n",
        "smtpd_recipient_restrictions = check_sender_access inline:{a@x.example=OK}, reject_unauth_destination\n",
        "smtpd_relay_restrictions = check_sender_access inline:{a@x.example=REJECT}, reject\n",
        "smtpd_relay_restrictions = check_client_access inline:{192.0.2.1=OK}, reject\n",
        "smtpd_restriction_classes = mine\nmine = permit_mynetworks, reject\nsmtpd_relay_restrictions = mine\n",
    ],
)
def test_nothing_is_said_of(main_cf: str) -> None:
    assert said(main_cf) == []


@pytest.mark.parametrize(
    "lists",
    [
        "smtpd_relay_restrictions =\n",
        "smtpd_relay_restrictions = permit_mynetworks\n",
        "smtpd_relay_restrictions = permit, reject\n",
        "smtpd_relay_restrictions = permit_mynetworks, warn_if_reject reject_unauth_destination\n",
        "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = permit_mynetworks, reject_unknown_sender_domain\n",
    ],
)
def test_lists_that_refuse_no_stranger(lists: str) -> None:
    ((severity, line, what),) = said(lists)
    assert (severity, line) == ("error", 1) and "specify at least one working instance of" in what


def test_a_listener_without_relay_control_is_named_by_its_line() -> None:
    found = said("", LISTENER + "2525 inet n - n - - smtpd -o smtpd_relay_restrictions=\n")
    assert [(severity, line) for severity, line, _ in found] == [("error", 2)]


@pytest.mark.parametrize(
    ("lists", "severity"),
    [
        ("smtpd_relay_restrictions = check_sender_access inline:{b@x.example=OK}, defer\n", "warning"),
        ("smtpd_relay_restrictions = check_helo_access inline:{friend.example=permit}, reject\n", "warning"),
        ("smtpd_relay_restrictions = check_client_access static:OK, reject\n", "error"),
        (
            "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = check_sender_access inline:{x.example=250},"
            " reject_unauth_destination\n",
            "warning",
        ),
    ],
)  # fmt: skip
def test_what_anybody_can_claim_opens_no_relay(lists: str, severity: str) -> None:
    (found,) = said(lists)
    assert found[0] == severity


def test_one_clean_list_is_enough() -> None:
    forged = "check_sender_access inline:{boss@x.example=OK}, reject_unauth_destination"
    clean = "permit_mynetworks, reject_unauth_destination"
    assert said(f"smtpd_relay_restrictions = {forged}\nsmtpd_recipient_restrictions = {clean}\n") == []
    assert said(f"smtpd_relay_restrictions = {clean}\nsmtpd_recipient_restrictions = {forged}\n") == []


def test_soft_bounce_is_noted() -> None:
    assert said("soft_bounce = yes\n") == [("note", 1, "soft_bounce = yes")]


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        ("relay_domains = static:all", "error"),
        ("relay_domains = a.example, regexp:{table}", "error"),
        ("parent_domain_matches_subdomains = relay_domains\nrelay_domains = com", "warning"),
        ("relay_domains = .com", "warning"),
        ("relay_domains = localdomain, a.example, .b.example", ""),
        ("smtpd_authorized_xclient_hosts = 0.0.0.0/0", "error"),
        ("smtpd_authorized_xclient_hosts = static:yes", "error"),
        ("smtpd_authorized_xclient_hosts = 127.0.0.1, 10.0.0.0/8", ""),
    ],
)
def test_destinations_and_impostors_that_make_an_open_relay(tmp_path: Path, line: str, severity: str) -> None:
    (tmp_path / "table").write_text("/\\.example$/ OK\n/./ OK\n")
    found = said(line.format(table=tmp_path / "table") + "\n")
    assert [found[0] for found in found] == ([severity] if severity else [])
