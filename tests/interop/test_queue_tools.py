"""mailq, postqueue and postsuper beside real Postfix's: the same mail in both queues, the same words, the same answers.

Queue ids, times and process ids are their own; an id of ours is longer, and so is the message that has it in Received.
"""

import contextlib
import json
import pwd
import re
import socket
import subprocess
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import OWNER, PROGRAM, Gateway, Sink, until

from postwarden.cli.shape import BUCKETS

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]

FULL = 'mailbox full, quoted "x" and \\ back\tTab'
MAIL = {
    "one": ("a@example.org", ["x@dead.example"], ""),
    "null": ("", ["x@dead.example"], ""),
    "two": ("a@example.org", ["x@dead.example", "y@four.example", "z@dead.example"], ""),
    "odd": ('"a b"@example.org', ['"x \\" y"@dead.example', "xx+yy=zz@dead.example"], ""),
    "long": ("a-sender-that-is-longer-than.its-column@really.long.domain.example.org", ["u@four.example"], ""),
    "utf": ("päul@exämple.org", ["jürgen@dead.example"], " SMTPUTF8"),
    "later": ("s@example.org", ["later1@later.example", "later2@later.example", "multi@later.example"], ""),
    "many": ("s@example.org", [f"u{n}@dead.example" for n in range(10, 22)], ""),
    "active": ("active@example.org", ["a@stuck.example", "b@dead.example"], ""),
}


class Remote(Sink):
    """Holds on to mail for stuck.example until it is told."""

    def __init__(self) -> None:
        self.over = threading.Event()
        super().__init__(refuse=self.answer)

    def answer(self, line: str) -> str | None:
        if line.startswith("RCPT TO:<later"):
            return f"452 4.2.2 {FULL}"
        if line.startswith("RCPT TO:<multi"):
            return f"452-4.2.2 first\r\n452-4.2.2 second, {'much longer ' * 10}\r\n452 4.2.2 third"
        if line.startswith("RCPT TO:<a@stuck"):
            self.over.wait(3000)
        return None


class Side:
    """One of the two systems, with the names of its queue ids."""

    def __init__(self, system: Gateway | RealPostfix, log_file: Path, width: int) -> None:
        self.system = system
        self.width = width
        self.ids: dict[str, str] = {}
        self._own: dict[str, int] = {}
        """Characters in Received lines of a message that can't be the other side's: ids, and the uid of the queue."""
        self.down = ""
        """What is said by whoever lists it now."""
        self._ours = isinstance(system, Gateway)
        self._log_file = log_file
        self._logged = 0

    def send(self, names: Collection[str] = tuple(MAIL)) -> None:
        for name in names:
            sender, recipients, options = MAIL[name]
            with socket.create_connection(("127.0.0.1", self.system.port)) as sock, sock.makefile("rwb") as stream:
                lines = ["EHLO client", f"MAIL FROM:<{sender}>{options}", *(f"RCPT TO:<{r}>" for r in recipients)]
                content = f"Message-Id: <{name}@example.org>\r\nSubject: x\r\n\r\n{'body ' * 14}\r\n."
                for line in ("", *lines, "DATA", content, "QUIT"):
                    if line:
                        stream.write(f"{line}\r\n".encode())
                        stream.flush()
                    while (reply := stream.readline())[3:4] == b"-":
                        pass
                    assert reply[:1] in (b"2", b"3"), (name, line, reply)
                    if b"queued as" in reply:
                        self.ids[name] = reply.split()[-1].decode()
                        self._own[name] = len(self.ids[name])

    def run(self, words: str, given: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        """`{name}` stands for the queue id of that message."""
        program, *rest = [self._named(word) for word in words.split(" ")]
        option = "-C" if program in ("mailq", "sendmail") else "-c"
        command = [PROGRAM, program] if self._ours else [program]
        return subprocess.run(
            [*command, *([option, str(self.system.etc)] if option not in rest else []), *rest],
            input=None if given is None else self._named(given), capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def requeue(self, name: str) -> tuple[int, str, str]:
        """Give the message a new id, and wait until it is deferred under it."""
        answer = self.answer(f"postsuper -r {{{name}}}")
        old = self.ids.pop(name)
        uid = pwd.getpwnam(OWNER if self._ours else "postfix").pw_uid

        def anew() -> bool:
            self.run("postqueue -f")
            for line in self.run("postqueue -j").stdout.splitlines():
                value = json.loads(line)
                if value["queue_id"] not in (old, *self.ids.values()) and value["queue_name"] == "deferred":
                    self.ids[name] = value["queue_id"]
            return name in self.ids

        until(anew)
        self._own[name] += len(self.ids[name]) + len(str(uid))
        text = self._log_file.read_text(errors="replace")
        assert re.search(rf"/pickup\[\d+\]: {self.ids[name]}: uid={uid} from=<.*> orig_id={old}\n", text)
        return answer

    def stop(self) -> None:
        self.system.stop()
        self.down = "postqueue: warning: Mail system is down -- accessing queue directly (Connect to the Postfix showq"
        # Postfix's commands write it as mail_owner while nobody does it for them.
        self._log_file.chmod(0o666)

    def answer(self, words: str, given: str | None = None) -> tuple[int, str, str]:
        """Exit code and what was said, with names for ids."""
        done = self.run(words, given)
        return done.returncode, self._unnamed(done.stdout), self._unnamed(done.stderr)

    def logged(self) -> list[str]:
        """What the two commands have logged since the last call."""
        text = self._log_file.read_text(errors="replace")[self._logged :]
        self._logged += len(text)
        found = re.findall(r" (postfix/post(?:queue|super))\[\d+\]: (.*)", self._unnamed(text))
        return [f"{program}: {said}" for program, said in found]

    def _named(self, text: str) -> str:
        for name, queue_id in self.ids.items():
            text = text.replace(f"{{{name}}}", queue_id)
        return text

    def _unnamed(self, text: str) -> str:
        for name, queue_id in self.ids.items():
            text = text.replace(queue_id, f"{{{name}}}")
        return text.replace(str(self.system.etc), "ETC").replace(str(self.system.queue), "QUEUE")

    def listing(self, words: str = "postqueue -p") -> tuple[str, dict[str, list[str]], str]:
        """Heading; the lines of each message, sizes without its id and times away; the last line, without the size."""
        code, out, err = self.answer(words)
        assert code == 0 and (self.down in err if self.down else not err)
        heading, _, rest = out.partition("\n")
        *blocks, last = rest.split("\n\n")
        messages = {}
        for block in blocks:
            first, *lines = block.split("\n")
            match = re.fullmatch(r"\{(\w+)\}([*!#]*)( *)(\d+) \w{3} \w{3} [ \d]\d [\d:]{8}( +)(.*)", first)
            assert match is not None, first
            name, mark, blanks, size, gap, sender = match.groups()
            column = len(self.ids[name] + mark + blanks + size)
            # The width of an id moves what is behind it only where it does not fit its column.
            column -= max(len(self.ids[name] + mark) - self.width, 0)
            messages[name] = [f"{mark} {int(size) - self._own[name]} {column} {gap}{sender}", *under_reasons(lines)]
        return heading, messages, re.sub(r"^-- \d+", "-- N", last)

    def json(self) -> list[dict[str, object]]:
        code, out, err = self.answer("postqueue -j")
        assert code == 0 and (self.down in err if self.down else not err)
        found = []
        for line in out.splitlines():
            value = json.loads(line)
            assert list(value) == [
                "queue_name",
                "queue_id",
                "arrival_time",
                "message_size",
                "forced_expire",
                "sender",
                "recipients",
            ]
            assert isinstance(value.pop("arrival_time"), int)
            value["message_size"] -= self._own[value["queue_id"][1:-1]]
            value["recipients"].sort(key=lambda recipient: recipient["address"])
            found.append(value)
        return sorted(found, key=lambda value: value["queue_id"])


def under_reasons(lines: list[str]) -> list[str]:
    """Each recipient's line behind that of its reason: Postfix has them in the order in which deliveries ended."""
    found, reason = [], ""
    for line in lines:
        if line.endswith(")"):
            reason = line
        else:
            found.append(f"{reason}\n{line}")
    return sorted(found)


class Both:
    remote: Remote

    def __init__(self, ours: Side, real: Side) -> None:
        self.ours, self.real = ours, real
        self._logged: tuple[list[str], list[str]] = [], []

    def same(self, words: str, given: str | None = None) -> tuple[int, str, str]:
        real = self.real.answer(words, given)
        assert self.ours.answer(words, given) == real
        return real

    def same_log(self) -> None:
        """All since `forget_log`: daemons write it, in their own time, and what is late is compared next time."""
        ours, real = self._logged

        def same() -> bool:
            ours.extend(self.ours.logged())
            real.extend(self.real.logged())
            return ours == real

        with contextlib.suppress(AssertionError):
            until(same, 30)
        assert ours == real

    def forget_log(self) -> None:
        self.ours.logged(), self.real.logged()
        self._logged = [], []

    def same_queue(self) -> dict[str, list[str]]:
        real, ours = self.real.listing(), self.ours.listing()
        for name, lines in real[1].items():
            assert ours[1].get(name) == lines
        assert ours == real
        assert self.ours.json() == self.real.json()
        return real[1]


@contextlib.contextmanager
def side_by_side(base: Path, *, long_ids: bool = False) -> Iterator[Both]:
    """Both run, and have all of MAIL: one in delivery, the others deferred."""
    remote = Remote()
    ports = {"stuck": remote.port, "later": remote.port, "dead": 1, "four": 2}
    settings = {
        "relay_domains": " ".join(f"{name}.example" for name in ports),
        "transport_maps": f"inline:{{{' '.join(f'{n}.example=smtp:[127.0.0.1]:{port}' for n, port in ports.items())}}}",
        "enable_long_queue_ids": "yes" if long_ids else "no",
        "smtputf8_enable": "yes",
        "smtp_rcpt_timeout": "3000s",
        # A destination that is suspended is another reason than the one that suspended it.
        "default_destination_concurrency_failed_cohort_limit": "100",
        "smtp_destination_concurrency_failed_cohort_limit": "100",
    }
    gateway, postfix = Gateway(base, remote.port, **settings), RealPostfix(base, remote.port, **settings)
    try:
        gateway.start()
        postfix.start()
        width = 17 if long_ids else 11
        found = Both(Side(gateway, gateway.log_file, width), Side(postfix, postfix.log_file, width))
        for side in (found.ours, found.real):
            assert side.answer("postqueue -p") == (0, "Mail queue is empty\n", "")
            assert side.answer("postqueue -j") == (0, "", "")
            side.send()
        for side in (found.ours, found.real):
            until(lambda side=side: settled(side), said=str(side.run("postqueue -p").stdout))  # type: ignore[misc]
        found.remote = remote
        yield found
    finally:
        remote.over.set()
        gateway.abort()
        postfix.stop()
        remote.close()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with side_by_side(tmp_path_factory.mktemp("queue")) as found:
        yield found


def test_long_queue_ids(tmp_path: Path) -> None:
    with side_by_side(tmp_path, long_ids=True) as both:
        both.same_queue()
        both.same("postsuper -h {one} -e {two} -d {long} -d {many}")
        both.same("postsuper -H ALL")
        both.same_queue()


def settled(side: Side) -> bool:
    found = side.json()
    queues = [(value["queue_name"], value["queue_id"]) for value in found]
    if any(value["queue_name"] == "active" and "delay_reason" not in str(value) for value in found):
        return False
    wanted = [("active" if name == "active" else "deferred", f"{{{name}}}") for name in sorted(side.ids)]
    return queues == wanted


WORDS = [
    "postqueue", "postqueue -p -f", "postqueue -p -j", "postqueue -p -p", "postqueue -x", "postqueue -p extra",
    "postqueue -f -s dead.example", "postqueue -i", "postqueue -fp", "postqueue -V", "postqueue --help",
    "postqueue -p -- x", "postqueue -- -p", "postqueue -s a -s b", "postqueue -i AAAAAA -i BBBBBB",
    "postqueue -i ABCDEF", "postqueue -i ABCD", "postqueue -i x,y", "postqueue -i ../../x", "postqueue -i ",
    "postqueue -s nope.example", "postqueue -s bad_@x", "postqueue -s [127.0.0.1]", "postqueue -s 127.0.0.1",
    "postqueue -s [1.2.3]", "postqueue -s ", "postqueue -s a..b", "postqueue -s .dead.example",
    "postqueue -s dead.example.",
    "postqueue -s -dead.example", "postqueue -s 123", "postqueue -s under_score.com", "postqueue -s exämple.com",
    "postqueue -s [ipv6:::1]", f"postqueue -s {'x' * 256}", f"postqueue -s {'a' * 64}.com",
    "postqueue -c /nonexist -p", "postqueue -c",
    "postsuper -x", "postsuper -d", "postsuper -pX", "postsuper nonqueue", "postsuper -d ALL nonqueue",
    "postsuper -d ALL corrupt", "postsuper -d ALL ./hold", "postsuper -d ABCDEF deferred -x", "postsuper -d ABCDEF ",
    "postsuper", "postsuper -p", "postsuper -s", "postsuper -S", "postsuper -ps hold",
    "postsuper -d ABCDEF", "postsuper -d ABCD", "postsuper -d x,y", "postsuper -d ", "postsuper -d all",
    "postsuper -d -x",
    "postsuper -d a.b", "postsuper -d ä", f"postsuper -d {'a' * 200}", f"postsuper -d {'a' * 999}",
    "postsuper -H ALL", "postsuper -d ALL hold", "postsuper -d ALL bounce", "postsuper -h ALL flush",
    "postsuper -d ALL maildrop",
    "postsuper -r ABCDEF -e ABCDEF -f ABCDEF -h ABCDEF -H ABCDEF -d ABCDEF", "postsuper -d ABCDEF -d ABCDEE hold",
    "postsuper -c /nonexist -d ALL",
]  # fmt: skip


@pytest.mark.parametrize("words", WORDS)
def test_words(both: Both, words: str) -> None:
    """None of these changes a queue."""
    both.same(words)
    # What is said before the configuration is read goes to the system's log, not to maillog_file.
    both.same_log()


def test_ids_from_standard_input(both: Both) -> None:
    code, _, said = both.same("postsuper -d - -h -", "\n\nABCDEF\nfoo bar\n  \nd\r\nlast")
    assert code == 0 and said.count("invalid mail queue id") == 5


@pytest.mark.parametrize(
    ("option", "view", "counted"), [((), "destination", "recipients"), (("-s",), "sender", "messages")]
)
def test_counts_are_those_of_qshape(both: Both, option: tuple[str, ...], view: str, counted: str) -> None:
    def same() -> bool:
        """A message may become five minutes old between the two."""
        done = subprocess.run(
            ["qshape", *option, "-c", both.real.system.etc, "deferred"], capture_output=True, text=True, check=True
        )
        heading, *rows = [line.split() for line in done.stdout.splitlines()]
        assert heading == ["T", *BUCKETS]
        wanted = {row[0]: [int(cell) for cell in row[1:]] for row in rows}
        ours = subprocess.run(
            [PROGRAM, "-c", both.ours.system.etc, "queue", "-j", "-n", "0", view, "deferred"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found = {}
        for line in ours.stdout.splitlines():
            value = json.loads(line)
            found[value[view]] = [value[counted], *value["age_minutes"].values()]
        total = wanted.pop("TOTAL")
        shown[:] = [found, wanted]
        return [sum(column) for column in zip(*found.values(), strict=True)] == total and found == wanted

    shown: list[object] = []
    until(same, said=shown)


def test_the_life_of_a_queue(both: Both) -> None:
    """Every operation, on every kind of message; the two queues stay equal all the way."""
    queue = both.same_queue()
    assert queue.keys() == MAIL.keys() and queue["active"][0].startswith("*")
    real = both.real.listing("mailq")
    assert both.ours.listing("mailq") == real == both.real.listing()
    steps = [
        ("postsuper -h {one} -h {null} -h {null} -h {two}", None),
        ("postsuper -h {one}", None),
        ("postsuper -h {one} deferred", None),
        ("postsuper -H {two} deferred", None),
        ("postsuper -H {two}", None),
        ("postsuper -H {two} hold", None),
        ("postsuper -e {one}", None),
        ("postsuper -e {one} hold", None),
        ("postsuper -e - hold", "{null}\n{many}\n"),
        ("postsuper -h {long} -d {long}", None),
        ("postsuper -d {long} -h {long}", None),
        ("postsuper -d - hold deferred", "{odd} \n {utf}\n{utf}!\n{many}\n{many}\n\n{later}"),
        ("postsuper -h ALL deferred", None),
        ("postsuper -e ALL active", None),
    ]
    for words, given in steps:
        both.same(words, given)
        both.same_log()
        both.same_queue()
    for name in ("one", "odd", "utf"):
        assert both.ours.requeue(name) == both.real.requeue(name)
    both.same_queue()
    both.same("postsuper -d ALL deferred")
    for name in ("postsuper -d {active}", "postsuper -d ALL"):
        both.same(name)
    until(lambda: both.same("postqueue -p") == (0, "Mail queue is empty\n", ""))


def test_the_queue_of_a_mail_system_that_is_down(both: Both) -> None:
    both.remote.over.set()
    for side in (both.ours, both.real):
        side.ids.clear()
        side.send([name for name in MAIL if name != "active"])
    for side in (both.ours, both.real):
        until(lambda side=side: settled(side), said=side.run("postqueue -p").stdout)  # type: ignore[misc]
        side.stop()
    both.same_queue()
    for words in ("-f", "-s bad_@x", "-i x,y"):
        both.same(f"postqueue {words}")
    for words, given in STEPS_DOWN:
        both.forget_log()  # what the listings say, which now the commands write themselves, and at once
        both.same(words, given)
        both.same_log()
        both.same_queue()
    assert both.ours.answer("postsuper -r {one} -r {many}") == both.real.answer("postsuper -r {one} -r {many}")
    both.same("postsuper -d ALL")
    for side in (both.ours, both.real):
        code, out, err = side.answer("mailq")
        assert (code, out) == (0, "Mail queue is empty\n") and side.down in err


STEPS_DOWN = [
    ("postsuper -h {one} -h {null} -h {null}", None),
    ("postsuper -H {one} -H {odd}", None),
    ("postsuper -e {two} -e {two} -e {null}", None),
    ("postsuper -f {two} -f {null} -f {utf}", None),
    ("postsuper -d - -h -", "{long}\nx y\n{long}\nABCDEF\n{later}"),
    ("postsuper -h ALL deferred", None),
    ("postsuper -H ALL", None),
    ("postsuper -d ABCDEF hold", None),
]
