from pathlib import Path

import pytest

from postwarden.config.errors import ConfigError
from postwarden.config.user_names import Finder, Names, unused
from postwarden.config.written import Written, read_main, read_master

SMTPD = "smtp inet n - n - - smtpd "


def found(main: str, master: str = SMTPD) -> tuple[Names, Written]:
    entries, _ = read_main(main.encode(), "main.cf")
    rows, _ = read_master(master.encode(), "master.cf")
    written = Written(entries, rows)
    return Finder(written, lambda name: entries[name].value if name in entries else None, "").run(), written


def said(main: str, master: str = SMTPD) -> list[str]:
    names, written = found(main, master)
    return [*names.warnings, *unused(written, names, "", main=True, master=True)]


@pytest.mark.parametrize(
    "main",
    [
        "smtpd_banner = $mine\nmine = x\n",
        "smtpd_banner = ${nosuch?{$mine}}${mine:{x}}\nmine = x\nnosuch =\n",
        "smtpd_restriction_classes = a, $b\na = permit\nb = c\nc = reject\n",
        "virtual_maps = hash:x\n",
        "alias_maps = proxy:ldap:staff pipemap:{mysql:more}\nstaff_server_host = x\nmore_hosts = y\n",
        "smtp_destination_recipient_limit = 3\n",
        "forward_path = $home/.forward\n",
    ],
)
def test_names_that_somebody_refers_to(main: str) -> None:
    assert said(main, "smtp unix - - n - - smtp\n") == []


def test_what_nobody_refers_to() -> None:
    main = "typo = 1\nstaff_server_host = x\nalias_maps = ldap:staff:x\nother = ldap:other\nother_server_host = 1\n"
    assert said(main, SMTPD + "-o nosuch=1 -o own=2 -o smtpd_banner=$own") == [
        "main.cf: unused parameter: typo=1",
        "main.cf: unused parameter: staff_server_host=x",
        "main.cf: unused parameter: other=ldap:other",
        "main.cf: unused parameter: other_server_host=1",
        "master.cf: unused parameter: nosuch=1",
    ]


def test_names_of_one_entry_of_master_cf() -> None:
    master = f"{SMTPD} -o smtpd_restriction_classes=own -o own=permit\nx inet n - n - - smtpd -o own=reject\n"
    assert said("", master) == ["master.cf: unused parameter: own=reject"]
    assert said("smtpd_banner = $own\n", master) == []


def test_undefined_names() -> None:
    assert said("smtpd_banner = $a ${b?{$c}}\n", SMTPD + "-o smtpd_banner=$d") == [
        "main.cf: undefined parameter: a",
        "main.cf: undefined parameter: b",
        "main.cf: undefined parameter: c",
        "master.cf: undefined parameter: d",
    ]


def test_the_file_of_a_table(tmp_path: Path) -> None:
    file = tmp_path / "ldap.cf"
    file.write_text("server_host = x\nserver_hots = y\n")
    assert said(f"alias_maps = ldap:{file}\n") == [f"ldap:{file}: unused parameter: server_hots=y"]
    assert said(f"alias_maps = ldap:{tmp_path}/no\n") == [
        f'open "ldap" configuration "{tmp_path}/no": No such file or directory'
    ]
    file.write_text("bad\n")
    with pytest.raises(ConfigError, match="missing '='"):
        said(f"alias_maps = ldap:{file}\n")


@pytest.mark.parametrize("value", ["$smtpd_banner", "$a", "${a", "${{x} >level {3}?{y}}"])
def test_a_parameter_that_cannot_be_expanded(value: str) -> None:
    with pytest.raises(ConfigError, match="macro processing error"):
        found(f"smtpd_banner = {value}\na = $b\nb = $a\n")
