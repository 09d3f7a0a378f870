"""A gateway that relays for an internal server and does not know its users: it asks there before it takes mail."""

import contextlib
import smtplib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.whole import Gateway, Sink, running, until

from postwarden.verify import file

pytestmark = pytest.mark.slow
CHECKED = {
    "smtpd_recipient_restrictions": "reject_unverified_recipient",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "unverified_recipient_reject_code": "550",
    "smtpd_error_sleep_time": "0",
    "smtpd_soft_error_limit": "100000",
    "smtpd_hard_error_limit": "100000",
    "smtpd_peername_lookup": "no",
}


class Inside(Sink):
    """The internal server: it has users, and counts who is asked for."""

    def __init__(self, *users: str, port: int = 0) -> None:
        self.asked: list[str] = []
        self.contents = 0
        self.wait: threading.Event | None = None
        """An answer to RCPT waits for it."""
        self._users = frozenset(users)
        super().__init__(port=port, refuse=self._refuse)

    def _refuse(self, line: str) -> str | None:
        if line.upper().startswith("DATA"):
            self.contents += 1
        if not line.upper().startswith("RCPT TO:<"):
            return None
        user = line[9:].partition("@")[0]
        self.asked.append(user)
        if self.wait is not None:
            self.wait.wait(60)
        return None if user in self._users else "550 5.1.1 no such user"


def rcpt(gateway: Gateway, *users: str, domain: str = "sink.example") -> list[str]:
    """The reply to RCPT for each, in one session."""
    replies = []
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=100) as client:
        client.helo("there.example")
        client.mail("reader@far.example")
        for user in users:
            code, text = client.rcpt(f"{user}@{domain}")
            replies.append(f"{code} {text.decode()}")
    return replies


def kept(path: str, user: str) -> bool:
    with contextlib.suppress(file.CacheError):  # the file is there before its table
        return file.find(path, f"{user}@sink.example") is not None
    return False


@pytest.fixture
def inside() -> Iterator[Inside]:
    server = Inside("ann", "bob")
    with contextlib.closing(server):
        yield server


def test_users_of_an_internal_server(tmp_path: Path, inside: Inside) -> None:
    with running(Gateway(tmp_path, inside.port, **CHECKED)) as gateway:
        known, unknown = rcpt(gateway, "ann", "nobody")
        assert known.startswith("250 2.1.5")
        start = "550 5.1.1 <nobody@sink.example>: Recipient address rejected: undeliverable address: host 127.0.0.1"
        assert unknown.startswith(start) and "said: 550 5.1.1 no such user (in reply to RCPT TO command)" in unknown
        assert inside.asked == ["ann", "nobody"] and inside.contents == 0
        assert rcpt(gateway, "ann", "nobody") == [known, unknown]
        assert inside.asked == ["ann", "nobody"]
        assert "status=deliverable" in gateway.log() and "status=undeliverable" in gateway.log()
        queue = gateway.command("queue", "-j").stdout
        assert "nobody" not in queue and "ann" not in queue


def test_a_restart_keeps_what_is_known(tmp_path: Path, inside: Inside) -> None:
    gateway = Gateway(tmp_path, inside.port, **CHECKED)
    with running(gateway):
        first = rcpt(gateway, "ann", "nobody")
        written = str(tmp_path / "data" / "verify_cache.sqlite")
        until(lambda: kept(written, "ann") and kept(written, "nobody"))
        gateway.stop()
    asked = list(inside.asked)
    with running(gateway):
        assert rcpt(gateway, "ann", "nobody") == first
        pid = gateway.kill("courier")
        until(lambda: pid not in gateway.pids("courier") and len(gateway.pids("courier")) == 1)
        # While no courier is there nobody can be asked: that is a temporary refusal.
        until(lambda: rcpt(gateway, "ann") == first[:1])
    assert inside.asked == asked


def test_an_internal_server_that_is_down(tmp_path: Path) -> None:
    port = free_port()
    with running(Gateway(tmp_path, port, **CHECKED, address_verify_negative_refresh_time="1s")) as gateway:
        (reply,) = rcpt(gateway, "ann")
        assert reply.startswith("450 4.1.1 <ann@sink.example>: Recipient address rejected: unverified address: connect")
        assert reply.endswith("Connection refused")


def test_an_internal_server_that_hangs_delays_only_who_asks_for_it(tmp_path: Path, inside: Inside) -> None:
    inside.wait = threading.Event()
    settings = CHECKED | {"address_verify_poll_count": "2", "address_verify_poll_delay": "1s"}
    with running(Gateway(tmp_path, inside.port, **settings)) as gateway:
        try:
            (reply,) = rcpt(gateway, "ann")
            assert reply.endswith("unverified address: Address verification in progress")
            inside.wait.set()
            until(lambda: rcpt(gateway, "ann")[0].startswith("250"))
        finally:
            inside.wait.set()
        assert inside.asked == ["ann"]


def test_many_sessions_for_one_address_are_one_question(tmp_path: Path, inside: Inside) -> None:
    inside.wait = threading.Event()
    # Nobody waits in vain: the answer comes when all of them ask.
    settings = CHECKED | {"address_verify_poll_count": "61", "address_verify_poll_delay": "1s"}
    with running(Gateway(tmp_path, inside.port, **settings)) as gateway, ThreadPoolExecutor(20) as pool:
        try:
            asking = [pool.submit(rcpt, gateway, "ann") for _ in range(20)]
            until(lambda: gateway.log().count("connect from") >= 20 and bool(inside.asked))
        finally:
            inside.wait.set()
        assert {one.result()[0][:9] for one in asking} == {"250 2.1.5"}
    assert inside.asked == ["ann"]


def test_senders_and_no_courier(tmp_path: Path, inside: Inside) -> None:
    restrictions = {"smtpd_sender_restrictions": "reject_unverified_sender", "smtpd_recipient_restrictions": "permit"}
    with running(Gateway(tmp_path, inside.port, **CHECKED | restrictions)) as gateway:
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=100) as client:
            client.helo("there.example")
            for sender, start in (
                ("ann@sink.example", "2.1.5"),
                (
                    "nobody@sink.example",
                    "4.1.7 <nobody@sink.example>: Sender address rejected: unverified address: host",
                ),
                ("", "2.1.5"),
            ):
                client.rset()
                client.mail(sender)
                assert client.rcpt("x@sink.example")[1].decode().startswith(start)
        assert inside.asked == ["ann", "nobody"]


@pytest.mark.long
def test_a_dictionary_of_two_thousand_addresses_harms_nobody_else(tmp_path: Path, inside: Inside) -> None:
    words = [f"word{number}" for number in range(2000)]
    with running(Gateway(tmp_path, inside.port, **CHECKED)) as gateway, ThreadPoolExecutor(12) as pool:
        rcpt(gateway, "ann")
        attack = [pool.submit(rcpt, gateway, *words[start::10]) for start in range(10)]
        sent = 0
        while not all(one.done() for one in attack):
            with smtplib.SMTP("127.0.0.1", gateway.port, timeout=60) as client:
                client.sendmail("reader@far.example", ["ann@sink.example"], f"Subject: {sent}\r\n\r\nhello\r\n")
            sent += 1
        refused = [reply for one in attack for reply in one.result()]
        assert len(refused) == 2000 and not [reply for reply in refused if reply.startswith("2")]
        until(lambda: len(inside.messages) == sent)
        assert sorted(set(inside.asked) - {"ann"}) == sorted(words)
        assert rcpt(gateway, "bob")[0].startswith("250")
