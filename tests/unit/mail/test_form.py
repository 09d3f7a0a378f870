"""Lines of the log in another form than the usual (info_log_address_format, delay_logging_resolution_limit)."""

import pytest

from postwarden.config.errors import ConfigError
from postwarden.config.log_form import check_log_form, log_form
from postwarden.mail.envelope import Client
from postwarden.mail.events import (
    USUAL,
    Delivered,
    Event,
    Notice,
    PickedUp,
    Queued,
    Rejected,
    Returned,
    delay,
)
from postwarden.mail.status import Status
from postwarden.net.log import MailLog
from postwarden.testing.config import settings

ODD = "s p@x.example"
DELIVERED = Delivered("4B1", ODD, ODD, Status("2.0.0", "ok"), (0.0088, 0.02513, 0.0011, 0.0941))
EVENTS = (
    (Rejected("", "RCPT", Client("h", "192.0.2.9"), "550 no", ODD, ODD),
     "NOQUEUE: reject: RCPT from h[192.0.2.9]: 550 no; from=<{0}> to=<{0}>"),
    (Queued("4B1", ODD, 7, 1), "4B1: from=<{0}>, size=7, nrcpt=1 (queue active)"),
    (PickedUp("4B1", 1000, ODD), "4B1: uid=1000 from=<{0}>"),
    (Returned("4B1", ODD, "expired"), "4B1: from=<{0}>, status=expired, returned to sender"),
    (Notice("s p@x.example"), "s p@x.example"),
)  # fmt: skip


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, lines: list[tuple[str, str]]) -> bool:
        self.lines += [text for _, text in lines]
        return True

    def close(self) -> None:
        return


@pytest.mark.parametrize(("event", "line"), EVENTS)
def test_an_address_as_it_is_within(event: Event, line: str) -> None:
    sink = Lines()
    log = MailLog(sink, "postfix", form=log_form(settings(info_log_address_format="internal")))
    log.emit("smtpd", event)
    log.reopen(sink, "postfix", log_form(settings()))
    log.emit("smtpd", event)
    assert sink.lines[0].endswith("]: " + line.format("s p@x.example"))
    assert sink.lines[1].endswith("]: " + line.format('"s p"@x.example'))
    assert str(event) == line.format('"s p"@x.example')


def test_what_is_usual_costs_nothing() -> None:
    assert log_form(settings()) is USUAL
    assert log_form(settings(info_log_address_format="external", delay_logging_resolution_limit="2")) is USUAL


@pytest.mark.parametrize(
    ("digits", "delays"),
    [
        ("0", "delay=0, delays=0/0/0/0"),
        ("1", "delay=0.1, delays=0/0/0/0.1"),
        ("3", "delay=0.13, delays=0.009/0.025/0.001/0.094"),
        ("4", "delay=0.13, delays=0.0088/0.025/0.0011/0.094"),
        ("6", "delay=0.13, delays=0.0088/0.025/0.0011/0.094"),
    ],
)
def test_delays_with_more_digits_or_fewer(digits: str, delays: str) -> None:
    assert f" {delays}, dsn" in DELIVERED.written(log_form(settings(delay_logging_resolution_limit=digits)))


@pytest.mark.parametrize("seconds", [0, 0.001, 0.004999, 0.0051, 0.1, 0.994, 0.996, 1.04, 9.94, 9.96, 12.5, 1e5])
def test_two_digits_are_the_usual_way(seconds: float) -> None:
    places = [delay(seconds, digits) for digits in (1, 2, 3)]
    assert all(abs(float(text) - seconds) <= 0.5 for text in places)
    assert delay(seconds) == delay(seconds, 2)
    if seconds >= 0.995:
        assert len(set(places)) == 1


def test_a_form_that_does_not_exist_is_named() -> None:
    made = settings("# one\n", info_log_address_format="short")
    with pytest.raises(ConfigError, match=r"main.cf:2: .*'short' is neither external nor internal"):
        check_log_form(made)
    assert log_form(made) is USUAL
    check_log_form(settings())
