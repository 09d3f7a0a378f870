"""What real Postfix's smtp(8) says of each misbehaving server, and what we say of it. RECORD=1 in the environment
writes its answers to the file that the unit tests use."""

import asyncio
import csv
import os
import re
import smtplib
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from msgspec import Struct
from tests.ports import free_port
from tests.realpostfix import RealPostfix, needs_postfix

from postwarden.mail.address import external
from postwarden.net.stream import SocketStream
from postwarden.testing.misbehaviour import Case, cases, comparable, content_cases
from postwarden.testing.remote import Remote
from postwarden.testing.smtp_client import HOST, TIMED_STAGES, bench_for

pytestmark = [pytest.mark.postfix, pytest.mark.slow, needs_postfix]

PORT = free_port()
RECORDED = Path(__file__).parents[1] / "unit/deliver/smtp/misbehaviour.tsv"
CONTENT = content_cases()
CASES = (*cases(), *CONTENT)


def address(number: int) -> str:
    return f"127.31.{number // 250}.{number % 250 + 1}"


class Servers:
    """One server a case, each on an address of its own, on a loop in a thread."""

    def __init__(self) -> None:
        self.remotes: dict[str, list[Remote]] = {}
        self._listeners: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(30)

    async def _open(self) -> None:
        for number, case in enumerate(CASES):
            factory = partial(self._accept, case)
            self._listeners.append(await self._loop.create_server(factory, address(number), PORT))

    def _accept(self, case: Case) -> SocketStream:
        remote = Remote(case.script)
        self.remotes.setdefault(case.name, []).append(remote)
        return SocketStream(remote, self._loop)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        for listener in self._listeners:
            listener.close()
        for remotes in self.remotes.values():
            for remote in remotes:
                if remote.stream is not None:
                    remote.stream.abort()
        await asyncio.sleep(0.1)


def transports() -> tuple[str, str, dict[int, str]]:
    """Lines of master.cf, lines of a transport table, and the transport of each case."""
    names: dict[tuple[tuple[str, str], ...], str] = {(): "smtp"}
    master, table, by_case = "", "", {}
    for number, case in enumerate(CASES):
        if case.parameters not in names:
            name = names[case.parameters] = f"smtp{len(names)}"
            options = "".join(f" -o {key}={value}" for key, value in case.parameters)
            master += f"{name} unix - - n - 600 smtp{options}\n"
        by_case[number] = names[case.parameters]
        table += f"case{number}.example {names[case.parameters]}:[{address(number)}]:{PORT}\n"
    return master, table, by_case


def submit(port: int) -> None:
    client = smtplib.SMTP("127.0.0.1", port)
    client.ehlo("submitter.example")
    for number, case in enumerate(CASES):
        options = ["SMTPUTF8"] if case.utf8 else []
        options += ["BODY=8BITMIME"] if case.utf8 or case.eight_bit else []
        recipients = [quoted(f"{case.local_part}{n}@case{number}.example") for n in range(case.recipients)]
        client.command_encoding = "utf-8"
        client.sendmail(case.sender, recipients, case.head + case.content, mail_options=options)
    client.quit()


def quoted(address: str) -> str:
    return f"<{external(address)}>"


_LINE = re.compile(
    r"to=<\"?[^@]*?(\d+)\"?@case(\d+)\.example>, relay=([^,]*), .*dsn=([0-9.]+), status=(\w+) \((.*)$", re.M
)

Answers = dict[str, dict[int, tuple[str, str, str]]]


NAME = f"{HOST.name}[{HOST.address}]"


def answers(log: str) -> Answers:
    """case name -> recipient -> (dsn, status, text), from the log, with the address of the unit tests' server."""
    found: Answers = {}
    for match in _LINE.finditer(log):
        recipient, case, _, dsn, status, text = match.groups()
        text = text.removesuffix(")").replace(f"{address(int(case))}[{address(int(case))}]", NAME)
        found.setdefault(CASES[int(case)].name, {})[int(recipient)] = (dsn, status, comparable(text))
    return found


class Real(Struct):
    """What Postfix did: what it logged, and what the servers got."""

    answers: Answers
    remotes: dict[str, list[Remote]]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    master, table, _ = transports()
    base = tmp_path_factory.mktemp("postfix")
    timeouts = {f"smtp_{stage}_timeout": "8s" for stage in TIMED_STAGES}
    limits = {"default_process_limit": "600", "smtpd_client_message_rate_limit": "0"}
    postfix = RealPostfix(
        base, mydestination="", relay_domains="", transport_maps=f"texthash:{base}/transport", **limits, **timeouts
    )
    with (postfix.etc / "master.cf").open("a") as file:
        file.write(master)
    (base / "transport").write_text(table)
    servers = Servers()
    postfix.start()
    try:
        submit(postfix.port)
        expected = sum(case.recipients for case in CASES)
        end = time.monotonic() + 110
        found: Answers = {}
        while sum(map(len, found.values())) < expected and time.monotonic() < end:
            time.sleep(0.5)
            found = answers(postfix.log_file.read_text(errors="replace"))
    finally:
        postfix.stop()
        servers.close()
    return Real(found, servers.remotes)


def ours(case: Case) -> dict[int, tuple[str, str, str]]:
    bench, job = bench_for(case)
    outcome = bench.deliver(job)
    return {n: (s.code, s.action.value, comparable(s.text)) for n, s in enumerate(outcome.results)}


RACES = frozenset(("552 within the content, then closed",))
"""A busy Postfix has sent everything, and hears of the reset before it reads the reply that came before."""


def test_every_case_was_answered(real: Real) -> None:
    missing = [case.name for case in CASES if len(real.answers.get(case.name, {})) != case.recipients]
    assert not missing


def test_same_status_and_code(real: Real) -> None:
    different = []
    for case in CASES:
        we, they = ours(case), real.answers.get(case.name, {})
        different += [
            f"{case.name} r{n}\n  postfix: {they.get(n)}\n  we:      {we[n]}"
            for n in we
            if we[n] != they.get(n) and case.name not in RACES
        ]
    assert not different, "\n".join(different)


def test_recorded_answers_are_still_those_of_postfix(real: Real) -> None:
    with RECORDED.open("a+", newline="") as file:
        file.seek(0)
        rows = {(row[0], int(row[1])): tuple(row[2:]) for row in csv.reader(file, delimiter="\t")}
    now = {(name, n): answer for name, by in real.answers.items() for n, answer in by.items()}
    if os.environ.get("RECORD"):
        with RECORDED.open("w", newline="") as file:
            csv.writer(file, delimiter="\t", lineterminator="\n").writerows(
                (name, n, *answer) for (name, n), answer in sorted(now.items())
            )
        return
    assert {key: answer for key, answer in now.items() if rows.get(key) != answer and key[0] not in RACES} == {}


def said(remote: Remote) -> list[str]:
    """What the server was told, but for how the connection ended and what differs between two machines."""
    lines = [line.decode() for line in remote.commands]
    return [re.sub(r"SIZE=\d+|@case\d+|@rcpt", "X", line) for line in lines if line not in ("QUIT", "RSET")]


@pytest.mark.parametrize("case", CONTENT, ids=[case.name for case in CONTENT])
def test_same_commands_and_content(real: Real, case: Case) -> None:
    bench, job = bench_for(case)
    bench.deliver(job)
    (ours_got,), (theirs_got,) = bench.remotes, real.remotes[case.name]
    assert said(ours_got) == said(theirs_got)
    theirs = theirs_got.messages[0].content
    # What came in by SMTP begins with the Received header that was added to it.
    received, _, rest = theirs.partition(b"\r\nX-First:")
    assert received.startswith(b"Received:")
    assert ours_got.messages[0].content == b"X-First:" + rest
