"""What the real smtpd(8) lets through is compared in tests/interop/test_unverified.py."""

import pytest

from postwarden.mail.probe_sender import ProbeSender

DAY = 86400
NOW = 20780.5 * DAY


def test_without_a_lifetime_it_is_the_address() -> None:
    sender = ProbeSender("double-bounce@mx.example.com")
    assert sender.at(NOW) == "double-bounce@mx.example.com"
    assert sender.fits("Double-Bounce@MX.example.com", NOW)
    assert not sender.fits("double-bouncePMB@mx.example.com", NOW)
    assert not sender.fits("double-bounce@mx.example.comx", NOW)
    assert not sender.fits("double-bounce", NOW)


def test_the_null_sender_has_no_lifetime_and_is_no_recipient() -> None:
    assert ProbeSender("", DAY).at(NOW) == ""
    assert not ProbeSender("", DAY).fits("", NOW)


@pytest.mark.parametrize(
    ("address", "fits"),
    [
        ("double-bouncePMB@mx.example.com", True),
        ("DOUBLE-bouncePMB@MX.example.com", True),
        ("double-bouncePM9@mx.example.com", True),
        ("double-bouncePMC@mx.example.com", True),
        ("double-bouncePM8@mx.example.com", False),
        ("double-bouncepmb@mx.example.com", False),
        ("double-bouncePMBx@mx.example.com", False),
        ("double-bounce@mx.example.com", False),
        ("double-bounce@x@mx.example.com", False),
        ("double-bouncePMB@mx.example.org", False),
        ("PMB@mx.example.com", False),
    ],
)
def test_with_a_lifetime(address: str, fits: bool) -> None:
    sender = ProbeSender("double-bounce@mx.example.com", DAY)
    assert sender.at(NOW) == "double-bouncePMB@mx.example.com"
    assert sender.fits(address, NOW) is fits


def test_an_address_that_is_shorter_than_its_parts() -> None:
    sender = ProbeSender("aa@a", 1)
    assert not sender.fits("a@a", NOW) and not sender.fits("aa", NOW) and not sender.fits("", NOW)
    assert ProbeSender("joe+x@far.example", 7).fits(ProbeSender("joe+x@far.example", 7).at(0.0), 6.9)
