"""A whole gateway whose queue is full of mail that waits: its database is damaged, its directory is copied to another
machine. What is deferred arrives once, what is on hold stays there until an operator lets it go, bounces are sent once.
"""

import os
import re
import shutil
import smtplib
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from tests.whole import Gateway, Sink, running, until

pytestmark = [pytest.mark.slow]

BIG = "x" * 70 + "\r\n"
COUNT = 25


def refuse(line: str) -> str | None:
    if "<later" in line:
        return "450 4.2.0 later"
    return "550 5.1.1 no" if "<no" in line else None


def send(gateway: Gateway, name: str, lines: int = 1) -> None:
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
        text = f"Subject: {name}\r\n\r\n" + BIG * lines
        client.sendmail(f"back-{name}@sink.example", [f"{name}@sink.example"], text)


def arrivals(sink: Sink) -> Counter[str]:
    """Subjects, and for reports whose they are."""
    found: Counter[str] = Counter()
    for sender, recipients, content in sink.messages:
        if not recipients:
            continue  # all were refused, but DATA had been sent with them
        subject = re.search(rb"Subject: (.*?)\r\n", content)
        assert subject is not None
        found[subject[1].decode() if sender else recipients[0].partition("@")[0]] += 1
    return found


def filled(base: Path, sink: Sink) -> Gateway:
    """It was killed with 2 × COUNT messages deferred, half of them on hold; COUNT were returned."""
    gateway = Gateway(base, sink.port, minimal_backoff_time="1h", maximal_backoff_time="1h")
    gateway.start()
    for n in range(COUNT):
        send(gateway, f"later{n}", 9000 if n % 8 == 0 else 1)
        send(gateway, f"later-held{n}", 9000 if n % 8 == 1 else 1)
        send(gateway, f"no{n}")
    until(lambda: gateway.log().count("status=deferred") == 2 * COUNT, 60)
    until(lambda: sum(arrivals(sink).values()) == COUNT, 60)
    until(lambda: gateway.log().count(": removed") == 2 * COUNT, 60)
    ids = re.findall(r"(\w+): to=<later-held\d+@sink.example>.*status=deferred", gateway.log())
    gateway.command("postsuper", "-c", str(gateway.etc), *[word for queue_id in ids for word in ("-h", queue_id)])
    for pid in (gateway.master_pid, *gateway.pids("courier")):
        os.kill(pid, 9)
    gateway.abort()
    until(lambda: not gateway.pids("receiver"), 60)
    sink.refuse = lambda line: None
    sink.messages.clear()
    return gateway


def names(kind: str) -> set[str]:
    return {f"{kind}{n}" for n in range(COUNT)}


def test_damaged(tmp_path: Path) -> None:
    sink = Sink(refuse=refuse)
    gateway = filled(tmp_path, sink)
    (database,) = gateway.queue.glob("postwarden/queue.db")
    db = sqlite3.connect(database)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # else the log has another first page
    db.close()
    with database.open("r+b") as file:
        file.write(bytes(4096))
    with running(gateway):
        gateway.command("flush")
        until(lambda: set(arrivals(sink)) >= names("later"), 60)
        assert "it is rebuilt from what can be read" in gateway.log()
        assert not set(arrivals(sink)) & names("later-held")
        gateway.command("postsuper", "-c", str(gateway.etc), "-H", "ALL")
        until(lambda: set(arrivals(sink)) >= names("later-held"), 60)
        until(lambda: "empty" in gateway.command("postqueue", "-c", str(gateway.etc), "-p").stdout, 60)
        assert arrivals(sink) == Counter(names("later") | names("later-held"))
    sink.close()


@pytest.mark.root
def test_copied_to_another_machine(tmp_path: Path) -> None:
    """By a root who kept neither owners nor modes nor times."""
    sink = Sink(refuse=refuse)
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    first = filled(tmp_path / "first", sink)
    second = Gateway(tmp_path / "second", sink.port, myhostname="other.example.net")
    shutil.copytree(first.queue / "postwarden", second.queue / "postwarden", copy_function=copied)
    shutil.rmtree(first.queue)
    refused = second.command("start", check=False)
    assert refused.returncode
    assert "set-permissions" in refused.stderr
    second.abort()
    second.command("set-permissions")
    with running(second):
        second.command("flush")
        until(lambda: set(arrivals(sink)) >= names("later"), 60)
        send(second, "new")
        until(lambda: arrivals(sink)["new"], 60)
        second.command("postsuper", "-c", str(second.etc), "-H", "ALL")
        until(lambda: "empty" in second.command("postqueue", "-c", str(second.etc), "-p").stdout, 60)
        assert arrivals(sink) == Counter(names("later") | names("later-held") | {"new"})
    sink.close()


def copied(source: str, target: str) -> str:
    """As cp does, but for what is no file."""
    if os.path.isfile(source):
        shutil.copyfile(source, target)
    return target
