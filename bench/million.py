"""A queue with a million deferred messages: what it costs to start with it, to hold it, to list it, to flush it, and to
receive new mail beside it.

    python -m bench.million build DIRECTORY COUNT
    python -m bench.million walk DIRECTORY
"""

import json
import os
import pwd
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench.instance import BenchError, Instance, Postwarden, Running, free_port
from bench.rows import Result, Row, measure
from postwarden.ipc.queue_client import Down, QueueClient
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.queue import Entry, NewMessage
from postwarden.mail.status import Status
from postwarden.spool.files import make_spool
from postwarden.spool.layout import spool_directory
from postwarden.spool.offline import OfflineQueue

COUNT = 1_000_000
NAME = "million"
TITLE = "new mail beside 1,000,000 deferred messages"
_GROUP = 5000
_DOMAINS = 5000
_AWAY = 2400.0
"""Seconds until the first is due: after the row. No longer than maximal_backoff_time: that would look like a
clock that was set back, and have all of them tried."""
_REASON = Status("4.4.1", "connect to mx.example.com[192.0.2.1]:25: Connection refused")
_ROW = Row(NAME, TITLE, keep=True)
_START = 5.0
_MEMORY = 32 << 20
_SPEED = 0.9
"""Gates: seconds and bytes more than with an empty queue, and how much of the speed is left."""


def build(directory: Path, count: int) -> None:
    """A queue in `directory`, as a courier would leave it."""
    directory.mkdir(mode=0o755)
    make_spool(spool_directory(str(directory)), _owner())
    now = time.time()
    body = (b"X" * 70 + b"\r\n") * 20
    with OfflineQueue(str(directory)) as queue:
        for start in range(0, count, _GROUP):
            group = [_message(queue.new_queue_id(), n, now, body) for n in range(start, min(start + _GROUP, count))]
            queue.import_(group)


def _message(queue_id: str, n: int, now: float, body: bytes) -> NewMessage:
    head = (
        f"Received: from client.bench.test (client.bench.test [192.0.2.9])\r\n\tby mx.bench.test (Postfix) with ESMTP "
        f"id {queue_id}\r\n\tfor <user{n}@d{n % _DOMAINS}.bench.test>; Mon, 23 Nov 2026 06:00:00 +0000 (UTC)\r\n"
        f"From: <sender{n % 997}@bench.test>\r\nTo: <user{n}@d{n % _DOMAINS}.bench.test>\r\nSubject: {n}\r\n"
        f"Message-ID: <{n}@bench.test>\r\nDate: Mon, 23 Nov 2026 06:00:00 +0000\r\n\r\n"
    ).encode()
    to = (Recipient(f"user{n}@d{n % _DOMAINS}.bench.test"),)
    envelope = Envelope(queue_id, now - n % 86_400, f"sender{n % 997}@bench.test", to, len(head) + len(body))
    # In no order of time, as after days of back-off.
    due = now + _AWAY + n * 7919 % 1500
    return NewMessage(envelope, head, body, due=due, attempts=3, reasons={0: _REASON})


def _owner() -> tuple[int, int] | None:
    """Of a queue: postfix, when root starts it."""
    if os.geteuid() == 0:
        with suppress(KeyError):
            entry = pwd.getpwnam("postfix")
            return entry.pw_uid, entry.pw_gid
    return None


def walk(directory: Path) -> dict[str, Any]:
    """What the courier does of it, without a gateway round it."""
    began = time.monotonic()
    with OfflineQueue(str(directory)) as queue:
        opened = time.monotonic() - began
        ledger = queue._ledger
        before = _resident()
        listing = _pages(lambda after: _listed(ledger.page(after)))
        ledger.flush()

        def flushed(_: object) -> tuple[int, object]:
            entries = ledger.due(0.0)
            _put_back(ledger.put_back, entries)
            return len(entries), True if entries else None

        flush = _pages(flushed)
        grown = _resident() - before
    return {"open": opened, "listing": listing, "flush": flush, "grown": grown}


def _listed(page: tuple[list[Any], Any]) -> tuple[int, object]:
    return len(page[0]), page[1]


def _put_back(put_back: Callable[[Entry], None], entries: tuple[Entry, ...]) -> None:
    for entry in entries:
        put_back(entry)


def _pages(turn: Callable[[Any], tuple[int, object]]) -> dict[str, float]:
    """Until `turn` says None: messages, seconds, CPU milliseconds of the middle and of the worst page."""
    count, after, times = 0, None, []
    began = time.monotonic()
    while True:
        start = time.thread_time()
        found, after = turn(after)
        times.append((time.thread_time() - start) * 1e3)
        count += found
        if after is None:
            return {
                "messages": count, "seconds": time.monotonic() - began,
                "page": statistics.median(times), "worst": max(times),
            }  # fmt: skip


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Life(Struct, frozen=True):
    """What a started gateway costs that does nothing."""

    start: float
    """Seconds until the greeting is given and the courier answers."""
    memory: int
    """Bytes in all processes."""
    listing: tuple[float, int, int] = (0.0, 0, 0)
    """postqueue: seconds, lines, its own bytes."""
    after: int = 0
    """Bytes in all processes after the listing."""


def measure_million(directory: Path, pairs: int, seconds: float, count: int) -> bool:
    """Print the row; False when it is below its gates. Raises BenchError."""
    queue = directory.parent / "million"
    try:
        began = time.monotonic()
        _run("build", str(queue), str(count))
        size = sum(path.stat().st_size for path in queue.rglob("*") if path.is_file())
        print(f"  built      {count} messages in {time.monotonic() - began:.0f} s, {size / 1e9:.1f} GB")
        walked = json.loads(_run("walk", str(queue)))
        _print_walk(walked)
        bare, full = _live(directory, None, count), _live(directory, queue, count)
        passed = _print_lives(bare, full)
        without, beside = [], []
        for _ in range(pairs):
            without.append(measure(_ROW, Postwarden(), directory, seconds))
            beside.append(measure(_ROW, Postwarden(), directory, seconds, queue))
        return _print_speed(without, beside) and passed
    finally:
        shutil.rmtree(queue, ignore_errors=True)


def _run(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "bench.million", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"bench.million {words[0]}: {done.stderr[-500:]}")
    return done.stdout


def _live(directory: Path, queue: Path | None, count: int) -> Life:
    instance = Instance(directory, free_port(), {"relayhost": "[127.0.0.1]:9"})
    instance.adopt(queue)
    try:
        began = time.monotonic()
        with Running(Postwarden(), instance) as running:
            _await_courier(instance)
            start = time.monotonic() - began
            time.sleep(2)
            memory = running.tree.memory()
            if queue is None:
                return Life(start, memory)
            listing = _list(instance, count)
            return Life(start, memory, listing, running.tree.memory())
    finally:
        instance.release(queue)
        instance.clear()


def _await_courier(instance: Instance) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with QueueClient(str(instance.directory / "queue")) as client:
                client.figures()
            return
        except Down:
            time.sleep(0.02)
    raise BenchError("the courier does not answer")


def _list(instance: Instance, count: int) -> tuple[float, int, int]:
    words = [*Postwarden().program, "postqueue", "-c", str(instance.config), "-j"]
    began = time.monotonic()
    process = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines = sum(1 for _ in process.stdout)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or lines != count:
        raise BenchError(f"postqueue ended with {process.returncode} after {lines} messages")
    return time.monotonic() - began, lines, used.ru_maxrss * 1024


def _print_walk(walked: dict[str, Any]) -> None:
    for name in ("listing", "flush"):
        found = walked[name]
        print(
            f"  {name:<10} in the courier: {found['seconds']:.1f} s for {found['messages']:.0f} messages; "
            f"a page of 500 takes {found['page']:.1f} ms, the worst {found['worst']:.1f}"
        )
    print(f"  ledger     opened in {walked['open']:.2f} s; both together took {walked['grown'] / 2**20:.1f} MB")


def _print_lives(bare: Life, full: Life) -> bool:
    seconds, lines, own = full.listing
    print(f"  start      {full.start:.1f} s; with an empty queue {bare.start:.1f} s")
    print(
        f"  memory     {full.memory / 2**20:.0f} MB in all processes, {full.after / 2**20:.0f} after a listing; "
        f"with an empty queue {bare.memory / 2**20:.0f}"
    )
    print(f"  postqueue  -j: {lines} messages in {seconds:.1f} s, {own / 2**20:.0f} MB")
    passed = full.start - bare.start <= _START and full.after - bare.memory <= _MEMORY
    if not passed:
        print(f"  BELOW THE GATE (start {_START:g} s, memory {_MEMORY / 2**20:.0f} MB more)")
    return passed


def _print_speed(without: list[Result], beside: list[Result]) -> bool:
    ratio = statistics.median(there.rate / bare.rate for there, bare in zip(beside, without, strict=True))
    for name, results in (("new mail", beside), ("alone", without)):
        rate = statistics.median(result.rate for result in results)
        cpu = statistics.median(result.cpu for result in results)
        print(f"  {name:<10} {rate:8.0f} messages/s  {cpu:7.0f} µs CPU a message")
    print(f"  ratio      {ratio:8.2f}  {'gate reached' if ratio >= _SPEED else 'BELOW THE GATE'} (gate {_SPEED:g})")
    return ratio >= _SPEED


if __name__ == "__main__":
    if sys.argv[1] == "build":
        build(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        print(json.dumps(walk(Path(sys.argv[2]))))
