"""Load of all kinds with a memory: some recipients take mail, some later, some never; some mail comes by SMTP, some
from local users; operators hold, release, requeue and expire meanwhile. What each recipient is owed is known, and what
became of it is counted.
"""

import contextlib
import os
import random
import re
import smtplib
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from zlib import crc32

from tests.load import Senders
from tests.ports import free_port
from tests.whole import OWNER, PROGRAM, Gateway, Sink, until

from postwarden.ipc import queue_client, submit_client
from postwarden.ipc.queue_records import EXPIRE, HOLD, RELEASE, REQUEUE
from postwarden.mail.envelope import Recipient
from postwarden.wire.submission import ACCEPTED, Submission, whole

ADDRESSES = {
    "ok": "ok@sink.example",
    "later": "later@sink.example",
    "no": "no@sink.example",
    "closed": "closed@closed.example",
    "team": "team@mx.example.com",
    "lost": "lost@mx.example.com",
    "box": f"{OWNER}@mx.example.com",
    "receipt": f"{OWNER}@also.example.com",
}
"""`receipt` has NOTIFY=SUCCESS where it comes by SMTP."""
ARRIVES = {
    "ok": "ok@sink.example",
    "later": "later@sink.example",
    "closed": "closed@closed.example",
    "team": "ok-team@sink.example",
    "box": ADDRESSES["box"],
    "receipt": ADDRESSES["receipt"],
}
FAILS = {"no": "no@sink.example", "team": "no-team@sink.example", "lost": "lost@mx.example.com"}
ALIASES = "team: ok-team@sink.example, no-team@sink.example\nlost: nobody-has-this-name\n"
_REPORTED = re.compile(rb"Final-Recipient: rfc822; *(\S+)\r\n(?:[A-Z][^\r]*\r\n|[ \t][^\r]*\r\n)*?Action: (\w+)")
_NAME = re.compile(rb"^X-Name: (\S+)\r?$", re.M)
_SMALL, _LARGE = 5, 1300
"""Lines of a letter: 1 KB, and 300 KB."""


class World:
    """A gateway, and all whom it delivers to."""

    def __init__(self, base: Path, **settings: str) -> None:
        self.gates = False
        self.remote = Sink(refuse=self._answer)
        self.home = Sink()
        self.closed_port = free_port()
        self.late: Sink | None = None
        (base / "aliases").write_text(ALIASES)
        ports = {"sink": self.remote.port, "home": self.home.port, "closed": self.closed_port}
        maps = ", ".join(f"{{{name}.example=smtp:[127.0.0.1]:{port}}}" for name, port in ports.items())
        times = dict.fromkeys(("minimal_backoff_time", "maximal_backoff_time", "queue_run_delay"), "1s")
        self.gateway = Gateway(
            base,
            **{
                "transport_maps": f"inline:{{{maps}}}",
                "relay_domains": "sink.example closed.example",
                "mydestination": "mx.example.com also.example.com",
                "alias_maps": f"hash:{base}/aliases",
                "mail_spool_directory": f"{base}/mail/",
                "delay_warning_time": "2s",
            }
            | times
            | settings,
        )

    def _answer(self, line: str) -> str | None:
        if line.startswith("RCPT"):
            if "<no" in line:
                return "550 5.1.1 no such user"
            if "<later" in line and not self.gates:
                return "450 4.2.0 later"
        return None

    def open_gates(self) -> None:
        """From now on all that can be delivered is."""
        if self.late is None:
            self.late = Sink(port=self.closed_port)
        self.gates = True

    def close(self) -> None:
        for sink in (self.remote, self.home, self.late):
            if sink is not None:
                sink.close()

    def empty(self) -> bool:
        """No mail waits. What was put on hold is released, what was deferred tried now."""
        try:
            with queue_client.QueueClient(str(self.gateway.queue), timeout=20) as queue:
                for _ in queue.act_on_all(RELEASE):
                    pass
                queue.flush()
                waiting = sum(1 for _ in queue.listing())
        except (queue_client.Down, OSError):
            return False
        dropped = [name for name in os.listdir(self.gateway.queue / "postwarden" / "maildrop") if len(name) == 32]
        return not waiting and not dropped


class Book:
    """Names of messages, and the kinds of their recipients."""

    def __init__(self) -> None:
        self.accepted: dict[str, tuple[str, ...]] = {}
        self.in_doubt: dict[str, tuple[str, ...]] = {}
        self.expired: set[str] = set()
        """An operator had them returned: each recipient was delivered to or told of, or both."""


class Load(Senders):
    def __init__(
        self, world: World, *, clients: int = 4, pause: float = 0.05, operators: bool = True, large: bool = True
    ) -> None:
        """`large`: one letter of twenty has a body that gets a file of its own in the queue."""
        self.world, self.pause, self.large = world, pause, large
        self.book = Book()
        self.operations: Counter[str] = Counter()
        works: list[Callable[[], None]] = [partial(self._clients, f"smtp{n}") for n in range(clients)]
        works += [self._submit, self._sendmail]
        works += [self._operate] if operators else []
        super().__init__(works)

    def _letters(self, who: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        number = 0
        while not self._over.is_set():
            number += 1
            yield f"{who}-{number}", tuple(random.sample(sorted(ADDRESSES), random.randint(1, 3)))

    def _letter(self, name: str) -> str:
        return letter(name, _LARGE if self.large and random.random() < 0.05 else _SMALL)

    def _noted(self, name: str, kinds: tuple[str, ...], taken: bool) -> None:
        if taken:
            self.book.accepted[name] = kinds
            del self.book.in_doubt[name]

    def _clients(self, who: str) -> None:
        letters = self._letters(who)
        while not self._over.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.world.gateway.port, timeout=20) as client:
                    client.ehlo()
                    for name, kinds in islice(letters, 20):
                        self._over.wait(self.pause)
                        self._talk(client, name, kinds)
            except (OSError, smtplib.SMTPException):
                self._over.wait(0.02)

    def _talk(self, client: smtplib.SMTP, name: str, kinds: tuple[str, ...]) -> None:
        if client.mail(f"s-{name}@home.example")[0] != 250:
            return
        for kind in kinds:
            if client.rcpt(ADDRESSES[kind], ["NOTIFY=SUCCESS,FAILURE"] if kind == "receipt" else [])[0] != 250:
                client.rset()
                return
        self.book.in_doubt[name] = kinds
        code, _ = client.data(self._letter(name).replace("\n", "\r\n"))
        self._noted(name, kinds, code == 250)

    def _submit(self) -> None:
        """What sendmail does while the mail system is up, without the cost of a process."""
        for name, kinds in self._letters("user"):
            self._over.wait(self.pause * 2)
            recipients = tuple(Recipient(ADDRESSES[kind]) for kind in kinds)
            submission = Submission(f"s-{name}@home.example", recipients)
            self.book.in_doubt[name] = kinds
            try:
                said = submit_client.submit(
                    str(self.world.gateway.queue), whole(submission, [self._letter(name).encode()])
                ).verdict
            except submit_client.Down:
                continue
            self._noted(name, kinds, said == ACCEPTED)

    def _sendmail(self) -> None:
        for name, kinds in self._letters("sendmail"):
            self._over.wait(self.pause * 2)
            self.book.in_doubt[name] = kinds
            addresses = [ADDRESSES[kind] for kind in kinds]
            words = [PROGRAM, "sendmail", "-C", self.world.gateway.etc, "-f", f"s-{name}@home.example", *addresses]
            done = subprocess.run(words, input=self._letter(name), text=True, capture_output=True, timeout=60)
            self._noted(name, kinds, done.returncode == 0)

    def _operate(self) -> None:
        while not self._over.is_set():
            self._over.wait(0.2)
            try:
                with queue_client.QueueClient(str(self.world.gateway.queue), timeout=20) as queue:
                    self._operate_on(queue, random.choice((HOLD, HOLD, RELEASE, REQUEUE, REQUEUE, EXPIRE)))
            except (queue_client.Down, OSError):
                pass

    def _operate_on(self, queue: queue_client.QueueClient, operation: str) -> None:
        found = {one.queue_id: one.envelope().sender for one in islice(queue.listing(), 500)}
        chosen = random.sample(sorted(found), min(5, len(found)))
        if operation == EXPIRE:
            chosen = [queue_id for queue_id in chosen if found[queue_id]][:1]
            self.book.expired |= {sent_by(found[queue_id]) for queue_id in chosen}
        self.operations[operation] += sum(1 for _ in queue.act(operation, chosen))


def letter(name: str, lines: int = _SMALL) -> str:
    body = f"This is the letter {name}, {'.' * 200}\n" * lines
    return f"Subject: {name}\nX-Name: {name}\nX-Body: {crc32(body.encode())}\n\n{body}"


def intact(content: bytes) -> bool:
    """The body is what `letter` made, whatever ends its lines."""
    head, _, body = content.replace(b"\r\n", b"\n").partition(b"\n\n")
    return b"\nX-Body: %d\n" % crc32(body) in head + b"\n"


def sent_by(address: str) -> str:
    return address.partition("@")[0].removeprefix("s-")


class Ends:
    """What became of messages, by name."""

    def __init__(self, world: World) -> None:
        self.arrived: Counter[tuple[str, str]] = Counter()
        self.again: Counter[str] = Counter()
        """Deliveries in which at least one recipient had the message already."""
        self.failed: dict[tuple[str, str], Counter[bytes]] = {}
        """Reports of failure by (name, recipient), each with how often it came."""
        self.successes: dict[tuple[str, str], Counter[bytes]] = {}
        self.told_twice: set[tuple[bytes, bytes, bytes]] = set()
        """(queue id, recipient, action) of which more than one report was made."""
        self._told: dict[tuple[bytes, bytes, bytes], bytes] = {}
        for sink in (world.remote, world.late):
            for _, recipients, content in [] if sink is None else list(sink.messages):
                if recipients:  # none: a client that had all of them refused, and sent nothing
                    self._arrival(content, recipients)
        for path in (world.gateway.base / "mail" / OWNER / "new").glob("*"):
            content = path.read_bytes()
            address = re.search(rb"^X-Original-To: (\S+)$", content, re.M)
            assert address is not None, content
            self._arrival(content, [address[1].decode()])
        for sender, recipients, content in list(world.home.messages):
            assert not sender, "only reports go there"
            self._report(sent_by(recipients[0]), content)

    def _arrival(self, content: bytes, recipients: list[str]) -> None:
        assert intact(content), content[:1000]
        name = _field(_NAME, content)
        seen = {(name, recipient) for recipient in recipients}
        self.again[name] += any(self.arrived[one] for one in seen)
        self.arrived.update(seen)

    def _report(self, name: str, content: bytes) -> None:
        report = re.search(rb"^Message-Id: (\S+)\r$", content, re.M | re.I)
        queue_id = re.search(rb"^X-Postfix-Queue-ID: (\S+)\r$", content, re.M)
        assert report is not None and queue_id is not None, content
        found = _REPORTED.findall(content)
        assert found, content
        for recipient, action in found:
            key = queue_id[1], recipient, action
            if self._told.setdefault(key, report[1]) != report[1]:
                self.told_twice.add(key)
            if action != b"delayed":
                kept = self.failed if action == b"failed" else self.successes
                kept.setdefault((name, recipient.decode()), Counter())[report[1]] += 1

    def missing(self, book: Book) -> list[str]:
        """What somebody is owed and has not got."""
        return [
            f"{name} {kind}" for name, kinds in book.accepted.items() for kind in kinds if self._owed(book, name, kind)
        ]

    def _owed(self, book: Book, name: str, kind: str) -> bool:
        if name in book.expired and (name, ADDRESSES[kind]) in self.failed:
            return False
        if kind in ARRIVES and not self.arrived[name, ARRIVES[kind]]:
            return name not in book.expired or (name, ARRIVES[kind]) not in self.failed
        if kind in FAILS and (name, FAILS[kind]) not in self.failed:
            return True
        wants = kind == "receipt" and name.startswith("smtp")
        return wants and (name, ADDRESSES[kind]) not in self.successes

    def doubles(self, *who: str) -> int:
        """Deliveries that were repeated, of messages of these senders (`smtp`, `user`, `sendmail`)."""
        return sum(count for name, count in self.again.items() if name.startswith(who))

    def reports_again(self) -> int:
        """The same report delivered once more."""
        return sum(sum(counts.values()) - len(counts) for counts in self.failed.values())

    def reports_more(self, *who: str) -> int:
        """Different reports of failure for one recipient, beyond the first."""
        return sum(len(counts) - 1 for (name, _), counts in self.failed.items() if name.startswith(who))


def _field(pattern: re.Pattern[bytes], content: bytes) -> str:
    found = pattern.search(content)
    return found[1].decode() if found is not None else ""


def settled(world: World, book: Book, seconds: float = 60.0) -> Ends:
    """Wait until the queue is empty, and until nothing is missing that a process may still have in hand."""
    world.open_gates()
    try:
        until(world.empty, seconds, "the queue gets empty")
    except AssertionError:
        with queue_client.QueueClient(str(world.gateway.queue), timeout=20) as queue:
            left = [(one.queue_id, one.due, one.held, one.state()) for one in islice(queue.listing(), 20)]
        raise AssertionError(f"the queue does not get empty: {left}\n{world.gateway.log()[-3000:]}") from None
    with contextlib.suppress(AssertionError):  # the caller says what is missing
        until(lambda: not Ends(world).missing(book), 20)
    return Ends(world)
