"""Address verification where something is wrong with its cache, or with the courier that has it."""

import contextlib
import smtplib
import threading
from pathlib import Path

import pytest
from tests.whole import Gateway, Sink, running, until

from postwarden.verify import file

pytestmark = [pytest.mark.slow]
CHECKED = {
    "smtpd_recipient_restrictions": "reject_unverified_recipient",
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "unverified_recipient_reject_code": "550",
}


class Users(Sink):
    """A server that has some users, and keeps who was asked for."""

    def __init__(self, *users: str) -> None:
        self.users = users
        self.asked: list[str] = []
        self.answer = threading.Event()
        """RCPT waits for it."""
        self.answer.set()
        super().__init__(refuse=self._refuse)

    def _refuse(self, line: str) -> str | None:
        if not line.upper().startswith("RCPT TO:<"):
            return None
        self.asked.append(line[9:].partition("@")[0])
        self.answer.wait(60)
        return None if self.asked[-1] in self.users else "550 5.1.1 no such user"


def rcpt(gateway: Gateway, *users: str) -> list[str]:
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=60) as client:
        client.helo("there.example")
        client.mail("reader@far.example")
        return [str(client.rcpt(f"{user}@sink.example")[0]) for user in users]


def send(gateway: Gateway, user: str) -> None:
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=60) as client:
        client.sendmail("reader@far.example", [f"{user}@sink.example"], "Subject: hello\r\n\r\nhello\r\n")


def test_a_cache_that_is_damaged_or_out_of_reach_costs_no_mail(tmp_path: Path) -> None:
    with contextlib.closing(Users("ann", "bob", "cyd")) as inside:
        cache = tmp_path / "data" / "verify_cache.sqlite"
        gateway = Gateway(tmp_path, inside.port, **CHECKED)
        cache.write_bytes(b"SQLite format 3\0" + b"\xa5" * 8000)
        cache.chmod(0o666)
        with running(gateway):
            send(gateway, "ann")
            until(lambda: len(inside.messages) == 1)
            until(lambda: "is damaged" in gateway.log())
            until(lambda: kept(cache, "ann"))
            # Damaged again, under way; then in its place something that is no file.
            cache.write_bytes(b"\xa5" * 8000)
            assert rcpt(gateway, "bob", "nobody") == ["250", "550"]
            until(lambda: kept(cache, "ann", "bob", "nobody"))
            for name in cache.parent.glob("verify_cache.sqlite*"):
                name.unlink()
            cache.mkdir()
            (cache / "x").touch()
            send(gateway, "cyd")
            until(lambda: len(inside.messages) == 2)
            until(lambda: "goes on in memory" in gateway.log())
            asked = len(inside.asked)
            assert rcpt(gateway, "ann", "cyd", "nobody") == ["250", "250", "550"]
            assert len(inside.asked) == asked


def kept(cache: Path, *users: str) -> bool:
    try:
        return all(file.find(str(cache), f"{user}@sink.example") is not None for user in users)
    except file.CacheError:
        return False


@pytest.mark.long
def test_a_courier_that_is_killed_while_it_asks(tmp_path: Path) -> None:
    with contextlib.closing(Users("ann")) as inside, running(Gateway(tmp_path, inside.port, **CHECKED)) as gateway:
        inside.answer.clear()
        said: list[str] = []
        asker = threading.Thread(target=lambda: said.extend(rcpt(gateway, "ann")))
        asker.start()
        until(lambda: bool(inside.asked))
        assert gateway.kill("courier")
        asker.join(60)
        assert said == ["450"]
        inside.answer.set()
        until(lambda: rcpt(gateway, "ann") == ["250"], 60)
        assert gateway.command("mailq").stdout.startswith("Mail queue is empty")
