import pytest

from postwarden.config.errors import ConfigError
from postwarden.schedule.feedback import Feedback
from postwarden.schedule.scheduler import TransportLimits
from postwarden.schedule.transports import transports
from postwarden.testing.config import settings


def limits(name: str, main_cf: str = "", master_cf: str = "") -> TransportLimits:
    found = settings(main_cf, master_cf) if master_cf else settings(main_cf)
    return {t.name: t for t in transports(found)}[name]


def test_defaults_are_postfix_s() -> None:
    smtp = limits("smtp")
    assert (smtp.pool, smtp.initial, smtp.concurrency, smtp.recipients, smtp.cohorts) == ("carrier", 5, 20, 50, 1)
    local = limits("local")
    assert (local.pool, local.concurrency, local.recipients) == ("agent", 2, 1)


def test_only_transports_are_taken() -> None:
    names = {t.name: t.pool for t in transports(settings())}
    assert names == {
        "smtp": "carrier", "relay": "carrier", "lmtp": "carrier", "local": "agent", "virtual": "agent",
        "error": "error", "retry": "error", "discard": "discard",
    }  # fmt: skip


def test_forms_for_one_transport_win() -> None:
    text = (
        "default_destination_concurrency_limit = 7\nrelay_destination_concurrency_limit = 3\n"
        "relay_destination_recipient_limit = 1\nrelay_initial_destination_concurrency = 2\n"
        "relay_destination_rate_delay = 1m\nrelay_destination_concurrency_positive_feedback = 1 / concurrency\n"
    )
    relay = limits("relay", text)
    assert (relay.concurrency, relay.recipients, relay.initial, relay.rate_delay) == (3, 1, 2, 60.0)
    assert relay.positive == Feedback(1.0, "concurrency")
    assert limits("smtp", text).concurrency == 7


@pytest.mark.parametrize(
    ("main_cf", "maxproc", "command", "processes"),
    [
        ("", "-", "smtp", 1000),
        ("", "12", "smtp", 12),
        ("", "0", "smtp", 0),
        ("default_process_limit = 33\n", "-", "smtp", 33),
        ("", "-", "local", 100),
    ],
)
def test_how_many_deliveries_at_a_time(main_cf: str, maxproc: str, command: str, processes: int) -> None:
    assert limits("x", main_cf, f"x unix - - n - {maxproc} {command}\n").processes == processes


def test_a_bad_feedback_is_named_by_file_and_line() -> None:
    text = "\nsmtp_destination_concurrency_positive_feedback = 3\n"
    with pytest.raises(ConfigError, match=r"/etc/postfix/main.cf:2: smtp_dest.*'3' is no number from 0 to 1"):
        limits("smtp", text)


def test_what_keeps_deliveries_apart() -> None:
    text = "smtp_transport_rate_delay = 2s\nrelay_delivery_slot_cost = 0\nrelay_destination_concurrency_limit = 3\n"
    smtp, relay = limits("smtp", text), limits("relay", text)
    assert (smtp.transport_delay, smtp.lanes) == (2.0, True)
    assert (relay.transport_delay, relay.lanes) == (0.0, False)
    assert relay.initial == 3, "no more at first than at any time"
    assert limits("relay", "default_destination_concurrency_limit = 0\n").initial == 5
