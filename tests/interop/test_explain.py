"""explain on a gateway that runs: what happened is told afterwards, by the line that decided."""

import json
import re
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port
from tests.whole import PROGRAM, Gateway, Sink, running, until

pytestmark = pytest.mark.slow


class World:
    def __init__(self, base: Path) -> None:
        self.base = base
        self.sink = Sink(refuse=lambda line: "550 5.1.1 no such user" if "<no@" in line else None)
        (base / "virtual").write_text("# who is who\nann@sink.example ann.smith@sink.example\n")
        (base / "canonical").write_text("ann.smith@sink.example as@sink.example\n")
        (base / "senders").write_text("bad@x.example REJECT go\n")
        slow = f"{{slow.example=smtp:[127.0.0.1]:{free_port()}}}"
        self.gateway = Gateway(
            base,
            self.sink.port,
            virtual_alias_maps=f"hash:{base}/virtual",
            transport_maps=f"inline:{{{{sink.example=smtp:[127.0.0.1]:{self.sink.port}}}, {slow}}}",
            relay_domains="sink.example, slow.example",
            smtpd_recipient_restrictions=f"check_sender_access hash:{base}/senders",
        )

    def explain(self, *words: str) -> str:
        done = subprocess.run(
            [PROGRAM, "-c", self.gateway.etc, "explain", *words], capture_output=True, text=True, timeout=60
        )
        assert done.stderr == "", done
        return done.stdout

    def values(self, *words: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.explain("-j", *words).splitlines()]

    def send(self, sender: str, recipient: str) -> str:
        """The reply to RCPT, or the queue id."""
        with smtplib.SMTP("127.0.0.1", self.gateway.port, timeout=30) as client:
            client.ehlo("client.example")
            client.docmd(f"MAIL FROM:<{sender}>")
            code, text = client.docmd(f"RCPT TO:<{recipient}>")
            if code != 250:
                return text.decode()
            client.docmd("DATA")
            client.send("Subject: x\r\n\r\ny\r\n.\r\n")
            return client.getreply()[1].decode().rpartition(" ")[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    base = tmp_path_factory.mktemp("explain")
    base.chmod(0o755)
    world = World(base)
    with running(world.gateway):
        yield world
    world.sink.close()


def test_one_that_was_refused(world: World) -> None:
    assert "go" in world.send("bad@x.example", "ann@sink.example")
    until(lambda: world.explain("--refused", "--from", "bad@x.example") != "")
    said = world.explain("--refused", "--from", "bad@x.example").splitlines()
    assert "from <bad@x.example> to <ann@sink.example>" in said[0]
    assert "554 5.7.1 <bad@x.example>: Sender address rejected: go" in said[1]
    assert said[2].endswith(f"at {world.base}/senders:1")


def test_one_that_was_delivered_by_an_alias(world: World) -> None:
    queue_id = world.send("joe@x.example", "ann@sink.example")
    until(lambda: "removed" in world.explain(queue_id))
    text = world.explain(queue_id)
    assert "ann.smith@sink.example: sent: 250 2.0.0 Ok" in text
    assert "for ann.smith@sink.example, which was ann@sink.example" in text
    assert f"[virtual_alias_maps {world.base}/virtual:2]" in text
    (found,) = world.values(queue_id)
    assert [record["kind"] for record in found["records"]] == ["judged", "stored", "attempted", "ended"]
    message_id = re.search(r"message (<\S+>)", text)
    assert message_id is not None and world.explain(message_id[1]) == text


def test_one_that_was_bounced(world: World) -> None:
    queue_id = world.send("joe@x.example", "no@sink.example")
    until(lambda: "removed" in world.explain(queue_id))
    text = world.explain(queue_id)
    assert "no@sink.example: bounced: host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no such user" in text
    assert "what it means: the other server does not know the recipient" in text
    assert re.search(r"[0-9A-F]+ was made of it, for joe@x\.example", text)


def test_one_that_waits(world: World) -> None:
    queue_id = world.send("joe@x.example", "bob@slow.example")
    until(lambda: "deferred" in world.explain(queue_id))
    text = world.explain(queue_id)
    assert "bob@slow.example: deferred: connect to 127.0.0.1[127.0.0.1]" in text
    assert "what it means: the other server can't be reached" in text


def test_the_store_is_nobody_elses(world: World) -> None:
    store = world.gateway.queue / "postwarden" / "trace"
    assert store.stat().st_mode & 0o777 == 0o750
    assert {file.stat().st_mode & 0o777 for file in store.iterdir()} == {0o640}
