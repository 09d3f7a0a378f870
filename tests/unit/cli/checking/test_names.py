from pathlib import Path

import pytest

from postwarden.cli.checking import names
from postwarden.cli.checking.everything import check
from postwarden.config.embedded import MASTER_CF
from postwarden.config.settings import load
from postwarden.testing.config import settings


def said(main_cf: str, master_cf: str = MASTER_CF.decode()) -> list[tuple[str, int, str, str]]:
    found = names.findings(settings(main_cf, master_cf))
    return [(f.severity, f.origin.line, f.what, f.cure) for f in found]


@pytest.mark.parametrize(
    "main_cf",
    [
        "myown = x\nsmtpd_banner = $myhostname $myown\n",
        "smtpd_banner = ${stress?slow}${stress:fast} ${service_name}\n",
        "default_rbl_reply = $rbl_code blocked by $rbl_domain\n",
        "forward_path = $home/.forward\nmailbox_command = x -a $EXTENSION\n",
        "relay_destination_concurrency_limit = 3\ndefault_destination_recipient_limit = 5\n",
        "biff = no\n",
        "smtpd_use_pw_server = yes\nx = $smtpd_use_pw_server\n",
    ],
)
def test_nothing_is_said_of(main_cf: str) -> None:
    assert said(main_cf) == []


def test_names_that_are_not_defined() -> None:
    (only,) = said("relay_domains = $mydestinaton, x.example\n")
    assert only == ("warning", 1, "relay_domains: $mydestinaton is not defined", "did you mean $mydestination?")
    (only,) = said("relay_domains = $something_of_mine\n")
    assert only[3] == "set it, or take it out"


def test_names_in_overrides_are_looked_at_with_their_line() -> None:
    (only,) = said("", "smtp inet n - n - - smtpd -o myhostname=$mx_nam -o mx_name=x\n")
    assert only[:3] == ("warning", 1, "myhostname: $mx_nam is not defined")


def test_a_known_ending_behind_no_transport() -> None:
    (only,) = said("relai_destination_concurrency_limit = 3\n")
    assert only[2:] == (
        "unused parameter: relai_destination_concurrency_limit=3", "did you mean relay_destination_concurrency_limit?",
    )  # fmt: skip


def test_what_is_accepted_without_effect_says_why() -> None:
    (only,) = names.findings(settings("max_use = 7\n"))
    assert (only.severity, only.what) == ("note", "max_use is accepted without effect") and only.why
    assert said("max_use = 100\n") == []  # the default


def test_what_is_set_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text(
        "soft_bounce = no\nmyhostname = a.example\nsoft_bounce = no\nmyhostname = b.example\n"
    )
    found = [(f.severity, f.origin.line, f.what) for f in names.findings(load(tmp_path))]
    assert found == [
        ("note", 3, "soft_bounce is set in line 1 already, to the same"),
        ("warning", 4, "myhostname is set in line 2 already, to a.example"),
    ]


def test_the_line_that_overrides_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\nmyhostname = a.example\nmyhostname = b.example\n")
    assert len([f for f in check(load(tmp_path), ask=False) if f.origin.line == 3]) == 1


@pytest.mark.parametrize(
    ("name", "like"), [("smtpd_timout", "smtpd_timeout"), ("MyHostName", "myhostname"), ("completely_else", "")]
)
def test_the_nearest_name(name: str, like: str) -> None:
    assert names.nearest(name) == like
