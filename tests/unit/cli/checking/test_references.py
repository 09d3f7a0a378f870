import pytest

from postwarden.cli.checking import references
from postwarden.testing.config import settings

LISTENER = "smtp inet n - n - - smtpd\n"


@pytest.mark.parametrize("main_cf", ["", "postwarden_refusal_reference = yes\n", "postwarden_trace = no\n"])
def test_nothing_is_said_of(main_cf: str) -> None:
    assert list(references.findings(settings(main_cf, LISTENER))) == []


def test_references_to_nothing() -> None:
    main_cf = "postwarden_refusal_reference = yes\npostwarden_trace = no\n"
    (found,) = references.findings(settings(main_cf, LISTENER + "587 inet n - n - - smtpd\n"))
    assert (found.severity, found.origin.line) == ("warning", 1)
    option = LISTENER + "  -o postwarden_refusal_reference=yes\n"
    (found,) = references.findings(settings("postwarden_trace = no\n", option))
    assert found.origin.file.endswith("master.cf")
