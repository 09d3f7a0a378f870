"""The queue's control socket on a whole gateway: what is waiting is listed, flushed, operated on and fetched."""

import os
import smtplib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.whole import Deferring, Gateway, Sink, running, until

from postwarden.ipc.queue_client import Denied, Down, QueueClient, Unserved

pytestmark = pytest.mark.slow

TEXT = "Subject: {}\n\nhello\n"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Deferring]:
    """Mail for slow.example finds nobody listening until a test opens `port`."""
    gateway = Deferring(tmp_path)
    with running(gateway):
        yield gateway


def send(gateway: Gateway, count: int = 1, to: str = "ann@slow.example") -> None:
    with smtplib.SMTP("127.0.0.1", gateway.port) as client:
        for n in range(count):
            client.sendmail("joe@example.org", [to], TEXT.format(n))


def queues(client: QueueClient) -> list[str]:
    return [listed.queue(listed.state()) for listed in client.listing()]


def deferred(gateway: Gateway, count: int) -> QueueClient:
    send(gateway, count)
    client = QueueClient(str(gateway.queue))
    until(lambda: queues(client) == ["deferred"] * count, said=str(queues(client)))
    return client


def test_hold_release_and_delete(gateway: Deferring) -> None:
    with deferred(gateway, 3) as client:
        ids = [listed.queue_id for listed in client.listing()]
        assert sorted(client.act("hold", [*ids[:2], "ABSENT1"])) == sorted(ids[:2])
        assert sorted(queues(client)) == ["deferred", "hold", "hold"]
        client.flush()
        assert sorted(client.act("delete", ids, ["hold"])) == sorted(ids[:2])
        assert list(client.act("delete", ids[:2])) == []
        until(lambda: queues(client) == ["deferred"])
        assert list(client.act_on_all("hold")) == ids[2:]
        assert list(client.act_on_all("hold")) == []
        sink = Sink(port=gateway.slow)
        assert list(client.act_on_all("release")) == ids[2:]
        client.flush()
        until(lambda: len(sink.messages) == 1)
        until(lambda: queues(client) == [])
        sink.close()


def test_flush_all_one_and_a_site(gateway: Deferring) -> None:
    with deferred(gateway, 4) as client:
        ids = [listed.queue_id for listed in client.listing()]
        with pytest.raises(Unserved):
            client.flush_site("elsewhere.example")
        sink = Sink(port=gateway.slow)
        client.flush_message(ids[1])
        until(lambda: len(sink.messages) == 1)
        assert ids[1].encode() in sink.messages[0][2]
        client.flush_message("NONE")
        client.flush_site("slow.example")
        until(lambda: len(sink.messages) == 4)
        send(gateway)
        client.flush()
        until(lambda: len(sink.messages) == 5 and not queues(client))
        sink.close()


def test_requeue_gives_each_a_new_id_and_ends(gateway: Deferring) -> None:
    with deferred(gateway, 5) as client:
        ids = {listed.queue_id for listed in client.listing()}
        assert set(client.act_on_all("requeue")) == ids
        until(lambda: queues(client) == ["deferred"] * 5)
        assert not ids & {listed.queue_id for listed in client.listing()}
        until(lambda: gateway.log().count("orig_id=") == 5)


def test_expired_mail_is_returned(gateway: Deferring) -> None:
    with deferred(gateway, 2) as client:
        first, second = [listed.queue_id for listed in client.listing()]
        assert list(client.act("expire", [first])) == [first]
        client.flush_message(first)
        until(lambda: f"{first}: from=<joe@example.org>, status=force-expired, returned to sender" in gateway.log())
        until(lambda: f"{first}: removed" in gateway.log())
        assert f"{second}: removed" not in gateway.log()


def test_a_message_is_fetched(gateway: Deferring) -> None:
    with deferred(gateway, 1) as client:
        (listed,) = client.listing()
        found = client.fetch(listed.queue_id)
        assert found is not None
        fetched, head, body = found
        with open(head, "rb") as file:
            assert b"Subject: 0\r\n" in file.read()
        with open(body, "rb") as file:
            assert file.read()[fetched.body_offset :][: fetched.body_size] == b"hello\r\n"
        assert fetched.listed.envelope().sender == "joe@example.org"
        assert client.fetch("NONE") is None


def test_figures_say_where_it_hangs(gateway: Deferring) -> None:
    with deferred(gateway, 8) as client:  # a window full of failures makes it dead
        client.flush()
        until(lambda: bool(client.figures().destinations) and "active" not in queues(client))
        figures = client.figures()
        (destination,) = figures.destinations
        assert (destination.transport, destination.window) == ("smtp", 0)
        assert destination.suspended_until > figures.now
        assert destination.reason is not None and "Connection refused" in destination.reason.text


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_ordinary_users_may_what_the_lists_say(gateway: Deferring) -> None:
    deferred(gateway, 1).close()
    program = (
        "import os\n"
        "from postwarden.ipc.queue_client import *\n"
        "os.setuid(65534)\n"
        f"client = QueueClient({str(gateway.queue)!r})\n"
        "print(len(list(client.listing())), end=' ')\n"
        "client.flush()\n"
        "for call in (lambda: list(client.act('delete', ['A'])), lambda: client.fetch('A')):\n"
        "    try:\n        call()\n    except Denied as error:\n        print(error, end=' ')\n"
    )
    gateway.base.parent.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.stdout.split(" ")[0], done.stdout.count("superuser")) == ("1", 2), done.stderr
    assert os.stat(gateway.queue / "postwarden" / "queue.db").st_mode & 0o077 == 0
    gateway.write_main_cf(authorized_mailq_users="!nobody, static:anyone", authorized_flush_users="root")
    gateway.command("reload")

    def refused() -> bool:
        again = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
        return "User nobody(65534) is not allowed to view the mail queue" in again.stderr

    until(refused)


def test_down_is_said(gateway: Deferring) -> None:
    with QueueClient(str(gateway.queue)) as client:
        gateway.stop()
        with pytest.raises(Down):
            list(client.listing())
    with pytest.raises(Down):
        QueueClient(str(gateway.queue))


def test_nonsense_and_crowds_are_dropped(gateway: Deferring) -> None:
    import socket

    path = str(gateway.queue / "postwarden" / "public" / "queue")
    for nonsense in (b"GET / HTTP/1.0\r\n\r\n", b"PW01" + b"\xff" * 9, b"PW01\0\0\0\3\0abc", b"PW01\0\0\0\2\1\x91\1"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(nonsense)
            while sock.recv(100):
                pass
    with QueueClient(str(gateway.queue)) as client:
        assert queues(client) == []
        with pytest.raises(Exception, match="no such operation"):
            list(client.act("destroy", ["A"]))


def test_denied_is_an_exception_of_its_own() -> None:
    assert not issubclass(Denied, Down)


def test_etrn_flushes_a_domain(gateway: Deferring) -> None:
    with deferred(gateway, 2) as client:
        sink = Sink(port=gateway.slow)
        with smtplib.SMTP("127.0.0.1", gateway.port) as smtp:
            smtp.ehlo()
            assert smtp.docmd("ETRN", "nowhere.example") == (459, b"<nowhere.example>: service unavailable")
            assert smtp.docmd("ETRN", "[127.0.0.1]") == (459, b"<[127.0.0.1]>: service unavailable")
            assert smtp.docmd("ETRN", "-x.example") == (501, b"Error: invalid parameter syntax")
            assert smtp.docmd("ETRN", "@slow.example") == (250, b"Queuing started")
        until(lambda: len(sink.messages) == 2 and not queues(client))
        sink.close()


def test_what_policy_holds_waits_in_the_hold_queue(gateway: Deferring) -> None:
    sink = Sink(port=gateway.slow)
    gateway.write_main_cf(smtpd_sender_restrictions="check_recipient_access inline:{held@slow.example=HOLD}")
    gateway.command("reload")
    until(lambda: "reload -- version" in gateway.log())
    with QueueClient(str(gateway.queue)) as client:

        def held() -> bool:
            if not queues(client):
                send(gateway, to="held@slow.example")
            return "hold" in queues(client)

        until(held)
        gateway.kill("courier")
    sink.messages.clear()

    def answers() -> bool:
        try:
            with QueueClient(str(gateway.queue)) as again:
                return queues(again) == ["hold"] and len(list(again.act_on_all("release"))) == 1
        except Down:
            return False

    until(answers)
    until(lambda: len(sink.messages) == 1)
    assert ": hold: RCPT from" in gateway.log()
    sink.close()


def test_messages_in_the_couriers_hands(gateway: Deferring) -> None:
    """One is being delivered, slowly; the others wait behind it, in a receiver's segment."""
    gateway.write_main_cf(smtp_destination_concurrency_limit="1")
    gateway.command("reload")
    until(lambda: "reload -- version" in gateway.log())
    going = threading.Event()

    def wait(line: str) -> None:
        if line == ".":
            going.wait(100)

    sink = Sink(port=gateway.slow, refuse=wait)
    send(gateway, 6)
    with QueueClient(str(gateway.queue)) as client:
        until(lambda: queues(client) == ["active"] * 6)
        until(lambda: client.figures().delivering == 1)
        first, held, deleted, expired, requeued, last = [
            listed.queue_id for listed in sorted(client.listing(), key=lambda listed: listed.envelope().arrival)
        ]
        assert list(client.act("hold", [held])) == [held]
        assert list(client.act("delete", [deleted])) == [deleted]
        assert list(client.act("expire", [expired])) == [expired]
        assert list(client.act("requeue", [requeued])) == [requeued]
        assert list(client.act("delete", [first])) == [first], "it is being delivered, and will arrive"
        left = {listed.queue_id: listed.queue(listed.state()) for listed in client.listing()}
        assert left.pop(held) == "hold"
        assert set(left) > {expired, last} and not set(left) & {deleted, requeued, first}
        going.set()
        until(lambda: len(sink.messages) == 4)
        until(lambda: queues(client) == ["hold"])
        gateway.kill("courier")

    def answers() -> bool:
        try:
            with QueueClient(str(gateway.queue)) as again:
                return queues(again) == ["hold"] and list(again.act("release", [held])) == [held]
        except Down:
            return False

    until(answers)
    until(lambda: len(sink.messages) == 5)
    assert sum(deleted.encode() in content for _, _, content in sink.messages) == 0
    sink.close()
