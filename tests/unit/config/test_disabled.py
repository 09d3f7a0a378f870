from pathlib import Path

import pytest

from postwarden.config.disabled import disabled
from postwarden.config.entries import Service
from postwarden.config.settings import load
from postwarden.mail.decision import BUILT_IN

MASTER_CF = """\
smtp inet n - n - - smtpd
127.0.0.1:2525 inet n - n - - smtpd
smtp unix - - n - - smtp
pickup unix n - n 60 1 pickup
"""


def service(name: str, kind: str) -> Service:
    return Service(name, kind, "-", "-", "-", "-", "-", "smtpd", (), {}, BUILT_IN)


@pytest.mark.parametrize(
    ("patterns", "off"),
    [
        ("", ""),
        ("inet", "smtp/inet 127.0.0.1:2525/inet"),
        ("INET unix", "smtp/inet 127.0.0.1:2525/inet smtp/unix"),
        ("smtp/inet", "smtp/inet"),
        ("smtp.inet", "smtp/inet"),
        ("127.0.0.1:2525/inet", "127.0.0.1:2525/inet"),
        ("127.0.0.1:2525.inet", "127.0.0.1:2525/inet"),
        ("!smtp/inet inet", "127.0.0.1:2525/inet"),
        ("inet !smtp/inet", "smtp/inet 127.0.0.1:2525/inet"),
        ("!!smtp/inet", "smtp/inet"),
        ("smtp", ""),
        ("pass fifo", ""),
    ],
)
def test_the_first_pattern_that_fits_decides(patterns: str, off: str) -> None:
    services = [service("smtp", "inet"), service("127.0.0.1:2525", "inet"), service("smtp", "unix")]
    assert " ".join(one.key for one in services if disabled(one, tuple(patterns.split()))) == off


def test_what_is_off_is_as_if_it_was_not_there(tmp_path: Path) -> None:
    (tmp_path / "master.cf").write_text(MASTER_CF)
    (tmp_path / "main.cf").write_text("mail_name = x\nmaster_service_disable = smtp/inet unix\n")
    settings = load(tmp_path)
    assert [one.key for one in settings.services] == ["127.0.0.1:2525/inet", "pickup/unix"]
    (only,) = settings.problems
    assert str(only.origin) == f"{tmp_path}/main.cf:2"
    assert only.text == "master_service_disable: pickup/unix is no listener or transport of its own, and goes on"
