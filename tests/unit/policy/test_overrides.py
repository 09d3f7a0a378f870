from postwarden.policy.overrides import without_checks
from postwarden.testing.config import settings

MASTER = """\
25 inet n - n - - smtpd
10025 inet n - n - - smtpd
    -o receive_override_options=no_unknown_recipient_checks,no_header_body_checks
"""


def test_only_where_it_is_said() -> None:
    config = settings("", MASTER)
    name = "smtpd_reject_unlisted_recipient"
    assert without_checks(config, "25/inet") is config
    changed = without_checks(config, "10025/inet")
    assert changed.value(name, "10025/inet") is False
    assert changed.value(name, "25/inet") is True
    assert changed.origin(name, "10025/inet").line == 3
