"""Rows of local delivery: mbox, Maildir and a program, for ten users of this machine who are made for it."""

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from bench.instance import BenchError, Instance, Running, System, free_port
from bench.rows import Result, spent

USERS = tuple(f"pwbench{number}" for number in range(10))
_SENT = re.compile(rb"/(?:local|pipe)\[\d+\]: \w+: to=<[^>]*>.* status=sent ")
_SETTINGS = {
    "mbox": {"mail_spool_directory": "{mail}"},
    "maildir": {"mail_spool_directory": "{mail}/"},
    "pipe": {"transport_maps": "inline:{{local.test=true:}}"},
}
_PIPE = f"true unix - n n - - pipe\n  flags=DRX user={USERS[0]} argv=/bin/true ${{recipient}}\n"


class LocalRow(Struct, frozen=True):
    name: str
    title: str
    size: int = 5120
    gate: float = 0.0
    aim: float = 0.0


LOCAL_ROWS = (
    LocalRow("mbox", "local users' mailboxes", gate=2, aim=4),
    LocalRow("maildir", "local users' Maildirs", gate=2, aim=4),
    LocalRow("pipe", "a program a message (/bin/true)", gate=1),
)


def missing() -> str:
    """Why the rows can't be measured here; empty when they can."""
    if os.geteuid() != 0:
        return "mailboxes of several users need root"
    return "" if shutil.which("smtp-source") else "no smtp-source: apt install postfix"


@contextlib.contextmanager
def users() -> Iterator[None]:
    for name in USERS:
        subprocess.run(["useradd", "--no-create-home", name], check=False, capture_output=True)
    try:
        yield
    finally:
        for name in USERS:
            subprocess.run(["userdel", name], check=False, capture_output=True)


def measure_local(row: LocalRow, system: System, directory: Path, seconds: float) -> Result:
    """As `rows.measure`; a message counts when the log says that it was delivered."""
    settings = {name: value.format(mail=directory / "mail") for name, value in _SETTINGS[row.name].items()}
    settings |= {"mydestination": "local.test", "true_destination_recipient_limit": "1"}
    # smtp-source numbers its recipients: the last digit is the user's.
    rules = "".join(f"{{/^[0-9]*{number}u$/ {name}}} " for number, name in enumerate(USERS))
    settings |= {"alias_maps": f"regexp:{directory}/aliases", "local_recipient_maps": ""}
    instance = Instance(directory, free_port(), settings)
    (directory / "aliases").write_text(rules.replace("{", "").replace("} ", "\n"))
    with (instance.config / "master.cf").open("a") as file:
        file.write(_PIPE)
    (directory / "mail").mkdir()
    (directory / "mail").chmod(0o1777)
    try:
        with Running(system, instance) as running:
            rate = 300 / _load(row, instance, 300, running)
            rate = max(rate, 20.0)
            while True:
                messages = int(rate * seconds * 1.2) + 1
                before, roles = running.tree.total(), running.tree.by_role()
                took = _load(row, instance, messages, running)
                if took >= seconds:
                    return spent(running.tree, messages, took, before, roles)
                rate = messages / took * 1.2
    finally:
        instance.clear()


def _load(row: LocalRow, instance: Instance, messages: int, running: Running) -> float:
    """Seconds until so many messages are delivered."""
    log = instance.directory / "log" / "mail.log"
    at, found = log.stat().st_size if log.exists() else 0, 0
    begin = time.monotonic()
    words = ["smtp-source", "-N", "-s", "20", "-m", str(messages), "-l", str(row.size)]
    words += ["-f", "sender@bench.test", "-t", "u@local.test", f"127.0.0.1:{instance.port}"]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as sender:
        deadline = begin + 60 + messages / 10
        rest = b""
        while found < messages:
            time.sleep(0.05)
            running.tree.watch()
            with log.open("rb") as file:
                file.seek(at)
                data = rest + file.read()
                at = file.tell()
            whole, _, rest = data.rpartition(b"\n")
            found += len(_SENT.findall(whole))
            if time.monotonic() > deadline or sender.poll() not in (None, 0):
                sender.kill()
                raise BenchError(f"{found} of {messages} messages were delivered: {instance.log_tail()}")
    return time.monotonic() - begin
