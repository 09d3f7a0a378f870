"""A gateway that relays for an internal server and does not know its users: it asks there before it takes mail."""

import contextlib
import smtplib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.whole import MASTER_CF, Gateway, Sink, running, until

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
PROBLEM = "Recipient address rejected: address verification problem"


class Inside(Sink):
    """The internal server: its users begin with `good`, and it counts who is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.contents = 0
        self.answer = threading.Event()
        """RCPT for users that end with `late` waits for it."""
        super().__init__(refuse=self._refuse)

    def _refuse(self, line: str) -> str | None:
        if line.upper().startswith("DATA"):
            self.contents += 1
        if not line.upper().startswith("RCPT TO:<"):
            return None
        user = line[9:].partition("@")[0]
        self.asked.append(user)
        if user.endswith("late"):
            self.answer.wait(60)
        return None if user.startswith("good") else "550 5.1.1 no such user"

    def times(self, user: str) -> int:
        return self.asked.count(user)


def rcpt(port: int, *users: str, sender: str = "reader@far.example", domain: str = "sink.example") -> list[str]:
    """The reply to RCPT for each, in one session."""
    replies = []
    with smtplib.SMTP("127.0.0.1", port, timeout=100) as client:
        client.helo("there.example")
        client.mail(sender)
        for user in users:
            code, text = client.rcpt(f"{user}@{domain}")
            replies.append(f"{code} {text.decode()}")
    return replies


def kept(path: Path, user: str) -> bool:
    with contextlib.suppress(file.CacheError):  # the file is there before its table
        return file.find(str(path), f"{user}@sink.example") is not None
    return False


class Place:
    """Ports of one gateway: `patient` waits for a minute, `hasty` for a second, `senders` verifies those."""

    def __init__(self, base: Path) -> None:
        self.inside = Inside()
        self.hasty, self.senders = free_port(), free_port()
        listeners = (
            f"127.0.0.1:{self.hasty} inet n - n - - smtpd -o address_verify_poll_count=2\n"
            f"127.0.0.1:{self.senders} inet n - n - - smtpd -o smtpd_sender_restrictions=reject_unverified_sender"
            " -o smtpd_recipient_restrictions=\n"
        )
        sink, dead = self.inside.port, free_port()
        own = {
            "address_verify_poll_count": "61",
            "address_verify_poll_delay": "1s",
            "relay_domains": "sink.example down.example",
            "transport_maps": f"inline:{{sink.example=smtp:[127.0.0.1]:{sink}, down.example=smtp:[127.0.0.1]:{dead}}}",
        }
        self.gateway = Gateway(base, sink, MASTER_CF + listeners, **CHECKED | own)
        self.patient = self.gateway.port
        self.cache = base / "data" / "verify_cache.sqlite"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("verification"))
    with contextlib.closing(place.inside), running(place.gateway):
        yield place


@pytest.fixture
def place(started: Place) -> Iterator[Place]:
    started.inside.answer = threading.Event()
    yield started
    started.inside.answer.set()


def test_users_of_an_internal_server(place: Place) -> None:
    known, unknown = rcpt(place.patient, "good.ann", "nobody")
    assert known.startswith("250 2.1.5")
    start = "550 5.1.1 <nobody@sink.example>: Recipient address rejected: undeliverable address: host 127.0.0.1"
    assert unknown.startswith(start) and "said: 550 5.1.1 no such user (in reply to RCPT TO command)" in unknown
    assert rcpt(place.patient, "good.ann", "nobody") == [known, unknown]
    assert place.inside.times("good.ann") == place.inside.times("nobody") == 1 and place.inside.contents == 0
    log = place.gateway.log()
    assert "status=deliverable" in log and "status=undeliverable" in log
    queue = place.gateway.command("queue", "-j").stdout
    assert "nobody" not in queue and "good.ann" not in queue


def test_an_internal_server_that_is_down(place: Place) -> None:
    (reply,) = rcpt(place.patient, "good", domain="down.example")
    assert reply.startswith("450 4.1.1 <good@down.example>: Recipient address rejected: unverified address: connect to")
    assert reply.endswith("Connection refused")


def test_an_internal_server_that_hangs_delays_only_who_asks_for_it(place: Place) -> None:
    (reply,) = rcpt(place.hasty, "good.late")
    assert reply.endswith("unverified address: Address verification in progress")
    assert rcpt(place.patient, "good.bob")[0].startswith("250")
    place.inside.answer.set()
    assert rcpt(place.patient, "good.late")[0].startswith("250")
    assert place.inside.times("good.late") == 1


def test_many_sessions_for_one_address_are_one_question(place: Place) -> None:
    before = place.gateway.log().count("smtpd[")
    with ThreadPoolExecutor(20) as pool:
        try:
            asking = [pool.submit(rcpt, place.patient, "good.many.late") for _ in range(20)]
            until(
                lambda: (
                    place.gateway.log().count("smtpd[") >= before + 20 and bool(place.inside.times("good.many.late"))
                )
            )
        finally:
            place.inside.answer.set()
        assert {one.result()[0][:9] for one in asking} == {"250 2.1.5"}
    assert place.inside.times("good.many.late") == 1


def test_senders(place: Place) -> None:
    for sender, start in (
        ("good.sender@sink.example", "250 2.1.5"),
        (
            "nosender@sink.example",
            "450 4.1.7 <nosender@sink.example>: Sender address rejected: unverified address: host",
        ),
        ("", "250 2.1.5"),
    ):
        assert rcpt(place.senders, "x", sender=sender)[0].startswith(start)
    assert place.inside.times("good.sender") == place.inside.times("nosender") == 1
    assert place.inside.times("x") == 0


def test_who_waits_hears_at_once_that_the_courier_is_gone(place: Place) -> None:
    with ThreadPoolExecutor(1) as pool:
        try:
            asking = pool.submit(rcpt, place.patient, "good.gone.late")
            until(lambda: bool(place.inside.times("good.gone.late")))
            place.gateway.kill("courier")
            assert asking.result() == [f"450 4.1.1 <good.gone.late@sink.example>: {PROBLEM}"]
        finally:
            place.inside.answer.set()
    until(lambda: "warning: verify service failure" in place.gateway.log())
    until(lambda: rcpt(place.patient, "good.gone.late")[0].startswith("250"))


def test_a_restart_keeps_what_is_known(place: Place) -> None:
    users = ("good.kept", "nokept")
    first = rcpt(place.patient, *users)
    until(lambda: all(kept(place.cache, user) for user in users))
    place.gateway.stop()
    place.gateway.start()
    assert rcpt(place.patient, *users) == first
    assert [place.inside.times(user) for user in users] == [1, 1]


def test_one_address_is_looked_up_and_dropped(place: Place) -> None:
    users = ("good.other", "dropped")
    first = rcpt(place.patient, *users)
    until(lambda: all(kept(place.cache, user) for user in users))
    name = f"btree:{place.cache.with_suffix('')}"
    assert place.gateway.command("postmap", "-q", "dropped@sink.example", name).stdout.startswith("2:0:")
    place.gateway.command("postmap", "-d", "dropped@sink.example", name)
    place.gateway.command("reload")
    until(lambda: rcpt(place.patient, *users) == first and place.inside.times("dropped") > 1)
    assert place.inside.times("good.other") == 1


@pytest.mark.long
def test_a_dictionary_of_two_thousand_addresses_harms_nobody_else(place: Place) -> None:
    words = [f"word{number}" for number in range(2000)]
    inside = place.inside
    rcpt(place.patient, "good.reader")
    with ThreadPoolExecutor(12) as pool:
        attack = [pool.submit(rcpt, place.hasty, *words[start::10]) for start in range(10)]
        sent = 0
        while not all(one.done() for one in attack):
            with smtplib.SMTP("127.0.0.1", place.patient, timeout=60) as client:
                client.sendmail("reader@far.example", ["good.reader@sink.example"], f"Subject: {sent}\r\n\r\nhello\r\n")
            sent += 1
        refused = [reply for one in attack for reply in one.result()]
    assert len(refused) == 2000 and not [reply for reply in refused if reply.startswith("2")]
    until(lambda: len(inside.messages) == sent)
    until(lambda: not set(words) - set(inside.asked))
    assert rcpt(place.patient, "good.after")[0].startswith("250")


@pytest.mark.long
def test_two_gateways_that_verify_each_other_s_senders_come_to_an_end(tmp_path: Path) -> None:
    """Each probe has a sender, which the other side would have to probe, and so on: but that one is always heard."""
    ports = {"one.example": free_port(), "two.example": free_port()}
    gateways = []
    for name, other in (("one.example", "two.example"), ("two.example", "one.example")):
        (tmp_path / name).mkdir()
        own = {
            "myhostname": name,
            "mydestination": name,
            "local_recipient_maps": "inline:{joe=x}",
            "mynetworks": "",
            "transport_maps": f"inline:{{{other}=smtp:[127.0.0.1]:{ports[other]}}}",
            "smtpd_sender_restrictions": "reject_unverified_sender",
            "smtpd_recipient_restrictions": "",
            "address_verify_poll_count": "61",
            "address_verify_poll_delay": "1s",
            "address_verify_sender_ttl": "7h",
        }
        listener = f"127.0.0.1:{ports[name]} inet n - n - - smtpd\n"
        gateways.append(Gateway(tmp_path / name, 0, MASTER_CF + listener, **CHECKED | own))
    one, two = gateways
    with running(one), running(two):
        known, unknown = (
            rcpt(one.port, "joe", sender=f"{user}@two.example", domain="one.example")[0] for user in ("joe", "eve")
        )
    assert known.startswith("250 2.1.5")
    assert unknown.startswith(
        "450 4.1.7 <eve@two.example>: Sender address rejected: unverified address: host 127.0.0.1"
    )
    assert "Recipient address rejected: User unknown in local recipient table" in unknown
    assert two.log().count("status=deliverable") == 1 and "to=<double-bounce" in two.log()
