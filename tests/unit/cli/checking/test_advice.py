import pytest

from postwarden.cli.checking.advice import advised
from postwarden.cli.checking.findings import Finding
from postwarden.config.errors import Problem
from postwarden.mail.decision import BUILT_IN, Origin
from postwarden.testing.config import settings

HERE = Origin("/etc/postfix/main.cf", 3, "")


def of(text: str, severity: str = "warning", origin: Origin = HERE) -> Finding:
    return advised(Problem(origin, severity, text), settings())


def test_what_a_reader_said_stays_as_it_is() -> None:
    assert of("something new", "error").what == "something new"
    assert of("something new") == Finding(HERE, "warning", "something new")


@pytest.mark.parametrize(
    ("text", "why", "cure"),
    [
        ("unused parameter: smtpd_timout=3", "nothing reads smtpd_timout", "did you mean smtpd_timeout?"),
        ("unused parameter: zzz=3", "nothing reads zzz", "remove it"),
        ('mynetworks: bad address pattern: "[::ffff:]/104"', "its address is lost", "[::ffff:127.0.0.0]/104"),
        ('mynetworks: bad address pattern: "[10.0.0]"', "whom it means is not known", "address/length"),
        ('duplicate entry: "a"', "the first entry counts", "remove one"),
        ("parameter x has no effect yet in this version", "does not happen", "until a later version"),
        ("parameter header_checks has no effect yet in this version", "without these checks", "later"),
        ("something that nobody thought of", "", ""),
    ],
)
def test_why_it_matters_and_what_to_do(text: str, why: str, cure: str) -> None:
    found = of(text)
    assert why in found.why and cure in found.cure


def test_an_error_of_any_kind_says_that_nothing_starts() -> None:
    assert "the gateway does not start" in of("something that nobody thought of", "error").why


def test_a_port_that_is_closed_is_an_error_though_the_gateway_starts() -> None:
    found = of('postscreen: master.cf has no service "smtpd pass ... smtpd" behind it: 25 is closed')
    assert found.severity == "error" and "starts without this port" in found.why and "smtpd pass" in found.cure


def test_a_table_that_can_not_be_read_is_an_error_where_somebody_named_it() -> None:
    text = "parameter alias_maps: /etc/aliases: can't be read: No such file or directory"
    assert of(text).severity == "error"
    assert of(text, origin=BUILT_IN).severity == "warning"


def test_a_table_of_what_does_nothing_yet_keeps_no_mail_waiting() -> None:
    text = "parameter header_checks: /etc/postfix/checks: can't be read: No such file or directory"
    assert of(text).severity == "warning"


def test_what_puts_all_mail_off_is_an_error() -> None:
    assert of("smtpd_milters: not available in this version: mail is answered with 451 4.7.1 x").severity == "error"
    assert of("smtpd_milters: not available in this version: mail passes unseen by it").severity == "warning"
    proxy = 'parameter alias_maps: proxymap service is not configured for table "x": what needs it will be put off'
    assert of(proxy).severity == "error" and "proxy_read_maps" in of(proxy).cure


def test_a_network_that_is_none_keeps_its_clients_waiting() -> None:
    assert of('mynetworks: bad network/mask pattern: "10.0.0.0/x"').severity == "error"
