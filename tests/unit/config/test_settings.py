from pathlib import Path

import msgspec
import pytest

from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings, load
from postwarden.config.system import System
from postwarden.testing.config import settings

MASTER = """\
smtp inet n - n - - smtpd
submission inet n - n - - smtpd
  -o { smtpd_banner = $myhostname submission }
  -o smtpd_timeout=7s
smtp unix - - n - - smtp
"""


def test_names_come_from_the_system() -> None:
    s = settings()
    assert s.text("myhostname") == "mx.example.com"
    assert s.text("mydomain") == "example.com"
    assert s.value("mydestination") == ("mx.example.com", "localhost.example.com", "localhost")
    assert s.text("mynetworks") == "127.0.0.1/32 192.0.2.1/32 [::1]/128"
    assert s.text("myorigin") == "mx.example.com"


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("host", "127.0.0.1/32 192.0.2.1/32 [::1]/128"),
        ("subnet", "127.0.0.0/8 192.0.2.0/24 [::1]/128"),
        ("class", "127.0.0.0/8 192.0.2.0/24 [::1]/128"),
    ],
)
def test_mynetworks_by_style(style: str, expected: str) -> None:
    assert settings(mynetworks_style=style).text("mynetworks") == expected


def test_mynetworks_follows_interfaces_and_protocols() -> None:
    assert settings(inet_interfaces="loopback-only").text("mynetworks") == "127.0.0.1/32 [::1]/128"
    assert settings(inet_interfaces="192.0.2.1").text("mynetworks") == "192.0.2.1/32"
    assert settings(inet_protocols="ipv4").text("mynetworks") == "127.0.0.1/32 192.0.2.1/32"


def test_a_hostname_without_a_dot_gets_the_domain() -> None:
    short = msgspec.structs.replace(settings(), system=System("mx"))
    assert short.text("myhostname") == "mx.localdomain"
    named = msgspec.structs.replace(settings(mydomain="example.org"), system=System("mx"))
    assert named.text("myhostname") == "mx.example.org"
    assert settings(myhostname="a.b.c").text("mydomain") == "b.c"


def test_overrides_hold_for_their_service() -> None:
    s = settings("smtpd_timeout = 9s\n", MASTER)
    assert s.text("smtpd_banner", "submission/inet") == "mx.example.com submission"
    assert s.value("smtpd_timeout", "submission/inet") == 7
    assert s.value("smtpd_timeout", "smtp/inet") == 9
    assert str(s.origin("smtpd_timeout", "submission/inet")) == "/etc/postfix/master.cf:4"
    assert str(s.origin("smtpd_timeout")) == "/etc/postfix/main.cf:1"
    assert str(s.origin("myhostname")) == "default"


def test_a_bare_service_name_is_the_transport() -> None:
    s = settings("", MASTER)
    service = s.find_service("smtp")
    assert service is not None
    assert service.key == "smtp/unix"
    assert s.find_service("nosuch") is None


def test_stress() -> None:
    s = settings()
    assert s.value("smtpd_timeout") == 300
    assert s.value("smtpd_timeout", stress=True) == 10


def test_raw_parameters_are_not_expanded() -> None:
    assert settings().text("forward_path").startswith("$home/.forward")


def test_transport_parameters() -> None:
    s = settings(default_destination_concurrency_limit="7", relay_destination_concurrency_limit="3")
    assert s.number("smtp_destination_concurrency_limit") == 7
    assert s.number("relay_destination_concurrency_limit") == 3
    assert s.number("my-transport_initial_destination_concurrency") == 5
    with pytest.raises(KeyError):
        s.number("myhostname")
    with pytest.raises(KeyError):
        s.value("nosuch")


def test_errors_name_the_line() -> None:
    s = settings("# x\nsmtpd_timeout = soon\nsmtpd_banner = ${x\n")
    with pytest.raises(ConfigError, match=r"^/etc/postfix/main.cf:2: .*smtpd_timeout"):
        s.value("smtpd_timeout")
    with pytest.raises(ConfigError, match=r"^/etc/postfix/main.cf:3: "):
        s.text("smtpd_banner")


def test_settings_survive_the_channel() -> None:
    s = settings("a = b\na = c\n", MASTER)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(s), type=Settings) == s


def test_missing_and_empty_files_give_defaults(tmp_path: Path) -> None:
    for _ in range(2):
        s = load(tmp_path)
        assert s.find_service("smtp/inet") is not None
        assert s.value("smtpd_relay_restrictions") == (
            "permit_mynetworks", "permit_sasl_authenticated", "defer_unauth_destination",
        )  # fmt: skip
        assert s.text("config_directory") == str(tmp_path)
        (tmp_path / "main.cf").write_text("# nothing\n")
        (tmp_path / "master.cf").write_text("\n")


def test_an_old_main_cf_keeps_its_old_defaults(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text("myhostname = old.example.com\n")
    assert load(tmp_path).text("compatibility_level") == "0"


def test_overrides_of_the_command_line_win(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text("myhostname = old.example.com\n")
    assert load(tmp_path, {"myhostname": "new.example.com"}).text("myhostname") == "new.example.com"


def test_myorigin_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "mailname").write_text("mail.example.org\nsecond\n")
    (tmp_path / "main.cf").write_text(f"myorigin = {tmp_path}/mailname\n")
    s = load(tmp_path)
    assert s.text("myorigin") == "mail.example.org"
    assert str(s.origin("myorigin")) == f"{tmp_path}/mailname:1"
    (tmp_path / "mailname").write_text("")
    with pytest.raises(ConfigError, match=r"main.cf:1: .*no name"):
        load(tmp_path)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "main.cf").mkdir()
    with pytest.raises(ConfigError, match=r"main\.cf"):
        load(tmp_path)


def test_an_unknown_style_of_mynetworks_is_refused() -> None:
    with pytest.raises(ConfigError, match='unknown mynetworks mask style value "net"'):
        settings("mynetworks_style = net\n").text("mynetworks")
    assert settings("mynetworks_style = net\nmynetworks = 192.0.2.1\n").text("mynetworks") == "192.0.2.1"


def test_a_list_with_an_open_brace_names_its_line() -> None:
    with pytest.raises(ConfigError, match=r"main\.cf:2: missing \"}\""):
        settings("myown = x\nmydestination = a {\n").items("mydestination")
    with pytest.raises(ConfigError, match=r"main\.cf:1: missing"):
        settings("inet_interfaces = {\n").own_addresses()
