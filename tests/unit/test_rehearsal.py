"""What `check` and `reload` ask before a role is started: would each role's stages compile?"""

from pathlib import Path

import pytest

from postwarden.config.errors import Problem
from postwarden.rehearsal import problems, warnings
from postwarden.tables import check
from postwarden.testing.config import settings

SERVICES = """\
smtp inet n - n - - smtpd
465 inet n - n - - smtpd
{options}
cleanup unix n - n - 0 cleanup
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
{more}
"""


def found(options: str = "", more: str = "", main_cf: str = "") -> list[Problem]:
    read = settings(main_cf, SERVICES.format(options=options or "# none", more=more))
    return [*check.problems(read), *problems(read)]


def test_the_defaults_compile() -> None:
    assert problems(settings()) == [] == found()


@pytest.mark.parametrize(
    "line",
    [
        "smtpd_recipient_restrictions = permit_mynetworx, reject",
        "smtpd_client_restrictions = check_client_access nosuch:table",
        "mynetworks = nosuch:table",
        "smtp_address_preference = both",
    ],
)
def test_each_fault_is_an_error_in_its_file(line: str) -> None:
    first = found(main_cf=line + "\n")[0]
    assert (first.severity, first.origin.file) == ("error", "/etc/postfix/main.cf") and first.origin.line


def test_a_certificate_that_is_missing_is_no_error() -> None:
    first = found(main_cf="smtpd_tls_security_level = may\nsmtpd_tls_cert_file = /nonexistent/cert.pem\n")[0]
    assert (first.severity, first.origin.file, first.origin.line) == ("warning", "/etc/postfix/main.cf", 2)


def test_a_fault_of_one_service_names_its_line_in_master_cf() -> None:
    faults = found("  -o smtpd_sender_restrictions=reject_everybody")
    assert [(p.origin.file, p.origin.line) for p in faults] == [("/etc/postfix/master.cf", 3)]
    assert "reject_everybody" in faults[0].text


def test_a_fault_that_every_service_has_is_said_once() -> None:
    faults = found(main_cf="smtpd_client_restrictions = reject_everybody\n")
    assert len(faults) == 1


def test_faults_of_all_services_are_said_at_once() -> None:
    faults = found("  -o smtpd_sender_restrictions=one", "587 inet n - n - - smtpd\n  -o smtpd_helo_restrictions=two\n")
    text = " ".join(p.text for p in faults)
    assert '"one"' in text and '"two"' in text


def test_what_a_restriction_can_not_do_is_said() -> None:
    (note,) = found(main_cf="smtpd_recipient_restrictions = reject_maps_rbl\n")
    assert (note.severity, note.origin.line) == ("warning", 1) and "not available in this version" in note.text


def test_nothing_is_made_or_asked(tmp_path: Path) -> None:
    faults = problems(settings(queue_directory=str(tmp_path / "queue"), data_directory=str(tmp_path / "data")))
    assert faults == [] and list(tmp_path.iterdir()) == []


def test_a_transport_without_a_service_is_a_warning() -> None:
    master_cf = "smtp inet n - n - - smtpd\nsmtp unix - - n - - smtp\n"
    found = [problem.text for problem in warnings(settings("relay_domains = r.example\n", master_cf))]
    assert found == [
        "local_transport: master.cf has no service local",
        "relay_transport: master.cf has no service relay",
    ]
    assert list(warnings(settings("relay_domains = r.example\n"))) == []
