import pytest

from postwarden.config.check import problems
from postwarden.config.parameters import TABLE, Standing, find, standing
from postwarden.config.parameters.standing import NO_EFFECT, REFUSED, WORKS
from postwarden.testing.config import settings

SMTP = "smtp inet n - n - - smtpd\n"


def said(main_cf: str = "", master_cf: str = SMTP) -> list[str]:
    return [str(problem) for problem in problems(settings(main_cf, master_cf))]


def test_nothing_to_say_of_what_works() -> None:
    assert said("myhostname = mx.example.com\nmyown = x\nsmtpd_banner = $myown\n") == []


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("smtpd_timeout = x", "error: /etc/postfix/main.cf:1: parameter smtpd_timeout: bad time value"),
        (
            "smtpd_timeout = 5 parsecs",
            "error: /etc/postfix/main.cf:1: parameter smtpd_timeout: bad time value or unit: 5 parsecs",
        ),
        ("smtpd_banner = ${x", "error: /etc/postfix/main.cf:1: parameter smtpd_banner: missing"),
        ("smtp_destination_recipient_limit = x", "error: /etc/postfix/main.cf:1: bad numerical"),
        ("nosuch = 1", "warning: /etc/postfix/main.cf:1: unused parameter: nosuch=1"),
        ("smtpd_tls_req_ccert = yes", "error: /etc/postfix/main.cf:1: parameter smtpd_tls_req_ccert is refused"),
        (
            "smtp_tls_trust_anchor_file = /x",
            "error: /etc/postfix/main.cf:1: parameter smtp_tls_trust_anchor_file is ref",
        ),
        ("smtp_tls_per_site = hash:/x", "error: /etc/postfix/main.cf:1: parameter smtp_tls_per_site is refused"),
        (
            "milter_content_timeout = 9",
            "warning: /etc/postfix/main.cf:1: parameter milter_content_timeout has no",
        ),
    ],
)
def test_main_cf_is_judged_by_line(line: str, text: str) -> None:
    (only,) = said(line + "\n")
    assert only.startswith(text)


def test_what_defaults_refer_to_may_have_no_effect_yet_all_the_same() -> None:
    (only,) = said("header_checks = inline:{x=y}\n")  # mime_header_checks is $header_checks by default
    assert only.endswith("parameter header_checks has no effect yet in this version")


def test_names_that_others_define_are_no_errors() -> None:
    assert said("smtpd_restriction_classes = strict\nstrict = permit\n") == []
    assert [p for p in said("alias_maps = ldap:staff\nstaff_server_host = x\n") if "staff_server" in p] == []


@pytest.mark.parametrize(
    ("entry", "severity", "word"),
    [
        ("x inet n - n - - postscreen", "warning", 'no service "smtpd pass ... smtpd" behind it: x is closed'),
        ("x inet n - n - - postscreen\nsmtpd pass - - n - - smtpd", "warning", "come to smtpd unscreened"),
        ("x unix n - n - - spawn user=nobody", "warning", "spawn"),
        ("x unix n - n - - frobnicate", "warning", "unknown command frobnicate: this service is down"),
        ("x unix n - n - - smtpd", "error", "inet"),
        ("x inet n - n - - local", "error", "inet"),
        ("x inet n - n - - smtpd -o smtpd_timeout=y", "error", "smtpd_timeout"),
        ("x inet n - n - - smtpd -o nosuch=y", "warning", "unused"),
    ],
)
def test_master_cf_is_judged_by_line(entry: str, severity: str, word: str) -> None:
    (only,) = said("", SMTP + entry + "\n")
    assert only.startswith(f"{severity}: /etc/postfix/master.cf:2: ")
    assert word in only


def test_what_was_strange_in_reading_is_said_too() -> None:
    s = settings()
    assert problems(s) == []
    doubled = "myhostname = a.example.com\nmyhostname = b.example.com\n"
    assert said(doubled) == ["warning: /etc/postfix/main.cf:2: overriding earlier entry: myhostname=a.example.com"]


def test_each_name_has_one_standing() -> None:
    assert set(TABLE) >= WORKS
    assert set(TABLE) >= set(NO_EFFECT)
    assert set(TABLE) >= set(REFUSED)
    assert not WORKS & set(NO_EFFECT)
    assert not WORKS & set(REFUSED)
    assert not set(NO_EFFECT) & set(REFUSED)


def test_standing_of_a_pattern() -> None:
    parameter = find("relay_destination_concurrency_limit")
    assert parameter is not None
    assert standing(parameter)[0] is Standing.WORKS
