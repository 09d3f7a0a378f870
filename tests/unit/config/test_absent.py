"""Filters that can't be asked: what main.cf wants done while they are down."""

import pytest

from postwarden.config.absent import NAMES, absent_filter
from postwarden.config.check import problems
from postwarden.testing.config import settings as configuration

MILTER = "inet:localhost:1"


@pytest.mark.parametrize(
    ("main_cf", "reply"),
    [
        ({"smtpd_milters": MILTER}, "451 4.7.1 Service unavailable - try again later"),
        ({"smtpd_milters": MILTER, "milter_default_action": "reject"}, "550 5.5.0 Service unavailable"),
        ({"smtpd_milters": MILTER, "milter_default_action": "frob"}, "451 4.3.5 Server configuration problem"),
        ({"smtpd_milters": MILTER, "milter_default_action": "accept"}, ""),
        ({"smtpd_milters": MILTER, "receive_override_options": "no_milters"}, ""),
        ({"smtpd_milters": f"{{ {MILTER}, default_action=accept }}"}, ""),
        ({"smtpd_milters": f"{{ {MILTER}, default_action=accept }}, {MILTER}"}, "451 4.7.1"),
        ({"smtpd_milters": f"{{ {MILTER}", "milter_default_action": "accept"}, ""),
        ({"smtpd_milters": MILTER, "milter_default_action": "ACCEPT"}, ""),
        (
            {"smtpd_milters": f"{{ {MILTER}, {{ default_action = tempfail }} }}", "milter_default_action": "accept"},
            "451 4.7.1",
        ),
        ({"smtpd_milter_maps": f"static:{MILTER}"}, "451 4.7.1"),
        ({"smtpd_milter_maps": f"static:{MILTER}", "milter_default_action": "accept"}, ""),
        ({"smtpd_milters": MILTER, "milter_default_action": "quarantine"}, "hold"),
        ({"non_smtpd_milters": MILTER}, ""),
        ({"smtpd_proxy_filter": "127.0.0.1:10024"}, "451 4.3.0"),
        ({}, ""),
    ],
)
def test_an_absent_filter(main_cf: dict[str, str], reply: str) -> None:
    settings = configuration(**main_cf)
    absent = absent_filter(settings)
    if not reply:
        assert absent is None
    elif reply == "hold":
        assert absent is not None
        assert absent.reply is None
    else:
        assert absent is not None
        assert str(absent.reply).startswith(reply)
    named = [name for name in NAMES if name in main_cf]
    said = [str(problem) for problem in problems(settings)]
    assert [name for name in named if any(f"{name}: not available in this version" in text for text in said)] == named


def test_local_mail_has_milters_of_its_own() -> None:
    settings = configuration(non_smtpd_milters=MILTER, smtpd_proxy_filter="127.0.0.1:1")
    absent = absent_filter(settings, local=True)
    assert absent is not None
    assert str(absent.reply) == "451 4.7.1 Service unavailable - try again later"
