"""Deferral beside the real Postfix: the same mail, the same settings, the same words in the log."""

import re
import smtplib
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import MASTER_CF, Gateway, Sink, running, until

pytestmark = pytest.mark.slow

_MESSAGE = "Subject: hi\n\nhello\n"
_TOLD = re.compile(r"postfix/(?:\w+/)?(\w+)\[\d+\]: [0-9A-Za-z]+: (to=<.*|from=<.*?>, status=.*)")
_TIMES = re.compile(r" delays?=[0-9./]+,|\d{4,5}")


def told(log: str) -> list[str]:
    """What was said of recipients and of expiry; times, ports and the bounces themselves aside."""
    found = [match[2] for line in log.splitlines() if (match := _TOLD.search(line))]
    return sorted({_TIMES.sub("", text) for text in found if not text.startswith(("to=<joe@", "from=<>"))})


def send(port: int, *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", port) as client:
        for recipient in recipients:
            client.sendmail("joe@example.org", [recipient], _MESSAGE)


def both(
    tmp_path: Path, recipients: tuple[str, ...], enough: Callable[[str], bool], sink_port: int = 0, **settings: str
) -> tuple[list[str], list[str]]:
    """The log's words on these recipients, ours and the real ones."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    with running(Gateway(ours, sink_port, MASTER_CF, **settings)) as gateway:
        send(gateway.port, *recipients)
        until(lambda: enough(gateway.log()), said="ours")
        mine = told(gateway.log())
    postfix = RealPostfix(theirs, sink_port, **settings)
    postfix.start()
    try:
        send(postfix.port, *recipients)
        until(lambda: enough(postfix.log()), said="Postfix")
        real = told(postfix.log())
    finally:
        postfix.stop()
    return mine, real


@needs_postfix
@pytest.mark.postfix
def test_what_transports_defer_is_said_alike(tmp_path: Path) -> None:
    dead = free_port()
    maps = f"inline:{{{{dead.example=smtp:[127.0.0.1]:{dead}}}, {{put.example=relay:[127.0.0.1]:1}}}}"
    recipients = tuple(f"ann@{name}.example" for name in ("dead", "put"))
    mine, real = both(
        tmp_path,
        recipients,
        lambda log: sum(f"to=<{recipient}>" in log for recipient in recipients) == len(recipients),
        transport_maps=maps,
        relay_domains="dead.example put.example",
        defer_transports="relay",
    )
    assert mine == real


@needs_postfix
@pytest.mark.postfix
@pytest.mark.parametrize(
    "settings",
    [
        {"maximal_queue_lifetime": "0"},
        {"soft_bounce": "yes"},
        {"soft_bounce": "yes", "maximal_queue_lifetime": "0"},
    ],
)
def test_the_end_of_a_lifetime_is_said_alike(tmp_path: Path, settings: dict[str, str]) -> None:
    dead, sink = free_port(), Sink(refuse=lambda line: "550 5.1.1 no such user" if line[:4] == "RCPT" else None)
    expires = "maximal_queue_lifetime" in settings
    mine, real = both(
        tmp_path,
        ("ann@dead.example", "ann@refused.example"),
        lambda log: (
            (not expires or log.count("from=<joe@example.org>, status=expired") == 1 + ("soft_bounce" in settings))
            and "ann@refused" in log
            and "ann@dead" in log
        ),
        transport_maps=(
            f"inline:{{{{dead.example=smtp:[127.0.0.1]:{dead}}}, {{refused.example=smtp:[127.0.0.1]:{sink.port}}}}}"
        ),
        relay_domains="dead.example refused.example",
        **settings,
    )
    sink.close()
    assert mine == real


def test_several_relayhosts_are_tried_in_order(tmp_path: Path) -> None:
    sink, dead = Sink(), free_port()
    relays = f"[127.0.0.1]:{dead}, [127.0.0.1]:{sink.port}"
    with running(Gateway(tmp_path, relayhost=relays, transport_maps="")) as gateway:
        send(gateway.port, "ann@elsewhere.example")
        until(lambda: len(sink.messages) == 1)
    sink.close()


def test_the_fallback_relay_gets_what_can_not_be_delivered(tmp_path: Path) -> None:
    sink, dead = Sink(), free_port()
    maps = f"inline:{{dead.example=smtp:[127.0.0.1]:{dead}}}"
    fallback = f"[127.0.0.1]:{sink.port}"
    with running(Gateway(tmp_path, transport_maps=maps, smtp_fallback_relay=fallback)) as gateway:
        send(gateway.port, "ann@dead.example")
        until(lambda: len(sink.messages) == 1)
    sink.close()


@needs_postfix
@pytest.mark.postfix
def test_etrn_is_answered_alike(tmp_path: Path) -> None:
    domains = (
        "slow.example", "SUB.slow.example", "nowhere.example", "[127.0.0.1]", "[IPv6:::1]", "bad_name", "@slow.example",
        "#slow.example", "", "a b", "-x.example", "[junk", "@", "x" * 70 + ".example", "slow.example.",
    )  # fmt: skip

    def replies(port: int) -> list[tuple[int, bytes]]:
        with smtplib.SMTP("127.0.0.1", port) as smtp:
            before = smtp.docmd("ETRN", "slow.example")
            smtp.ehlo()
            found = [smtp.docmd("ETRN", domain) for domain in domains]
            smtp.docmd("MAIL", "FROM:<joe@example.org>")
            return [before, *found, smtp.docmd("ETRN", "slow.example")]

    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    settings = {"fast_flush_domains": "slow.example", "smtpd_error_sleep_time": "0"}
    postfix = RealPostfix(tmp_path / "theirs", **settings)
    postfix.start()
    try:
        theirs = replies(postfix.port)
    finally:
        postfix.stop()
    with running(Gateway(tmp_path / "ours", **settings)) as gateway:
        # Not before the receiver's channel to the courier stands.
        until(lambda: replies(gateway.port) == theirs)


def test_a_mailing_does_not_hold_up_a_single_message(tmp_path: Path) -> None:
    def slowly(line: str) -> None:
        if line == ".":
            time.sleep(0.02)

    sink = Sink(refuse=slowly)
    settings = {"smtp_destination_recipient_limit": "2", "smtp_destination_concurrency_limit": "1"}
    with running(Gateway(tmp_path, sink.port, MASTER_CF, **settings)) as gateway:
        with smtplib.SMTP("127.0.0.1", gateway.port) as client:
            client.sendmail("list@example.org", [f"u{n}@sink.example" for n in range(1000)], _MESSAGE)
        until(lambda: len(sink.messages) >= 20)
        before = len(sink.messages)
        send(gateway.port, "single@sink.example")
        until(lambda: any("single@sink.example" in to for _, to, _ in list(sink.messages)))
        assert len(sink.messages) - before < 40, "of the 480 that were before it"
    sink.close()


@pytest.mark.parametrize("setting", ["smtp_destination_rate_delay", "smtp_transport_rate_delay"])
def test_rate_delays_keep_deliveries_apart(tmp_path: Path, setting: str) -> None:
    at: list[float] = []

    def note(line: str) -> None:
        if line == ".":
            at.append(time.monotonic())

    sink = Sink(refuse=note)
    with running(Gateway(tmp_path, sink.port, MASTER_CF, **{setting: "1s"})) as gateway:
        send(gateway.port, *(f"u{n}@sink.example" for n in range(3)))
        until(lambda: len(at) == 3)
    sink.close()
    assert all(second - first > 0.9 for first, second in pairwise(at))
