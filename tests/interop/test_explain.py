"""explain on a gateway that runs: what happened is told afterwards, by the line that decided."""

import json
import os
import re
import smtplib
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
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
        (base / "virtual").write_text(
            "# who is who\nann@sink.example ann.smith@sink.example\noffice@here.example team@here.example\n"
        )
        (base / "canonical").write_text("# old names\nold@here.example new@here.example\n")
        (base / "aliases").write_text("team: staff\nstaff: ann@sink.example\n")
        (base / "generic").write_text("new@here.example office@outside.example\n")
        (base / "senders").write_text("bad@x.example REJECT go\n")
        slow = f"{{slow.example=smtp:[127.0.0.1]:{free_port()}}}"
        self.gateway = Gateway(
            base,
            self.sink.port,
            mydestination="here.example, mx.example.com",
            virtual_alias_maps=f"hash:{base}/virtual",
            canonical_maps=f"hash:{base}/canonical",
            alias_maps=f"hash:{base}/aliases",
            smtp_generic_maps=f"hash:{base}/generic",
            transport_maps=f"inline:{{{{sink.example=smtp:[127.0.0.1]:{self.sink.port}}}, {slow}}}",
            relay_domains="sink.example, slow.example",
            smtpd_recipient_restrictions=f"check_sender_access hash:{base}/senders",
        )

    def explain(self, *words: str) -> str:
        done = subprocess.run(
            [PROGRAM, "-c", self.gateway.etc, "explain", *words], capture_output=True, text=True, timeout=60
        )
        # What was written down is in the store a little later.
        assert done.stderr == "" or (done.returncode, done.stdout) == (1, ""), done
        return done.stdout

    def postsuper(self, *words: str) -> None:
        subprocess.run([PROGRAM, "postsuper", "-c", self.gateway.etc, *words], check=True, timeout=60)

    def told(self, queue_id: str, *parts: str) -> str:
        """What is said once each process that had the message has written down its part."""
        until(lambda: all(part in self.explain(queue_id) for part in ("removed", *parts)), said=parts)
        return self.explain(queue_id)

    def as_user(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """By somebody whom neither the queue nor the store belongs to."""
        done = subprocess.run(
            [PROGRAM, "-c", self.gateway.etc, "explain", *words],
            capture_output=True, text=True, timeout=60, user=65534, group=65534, extra_groups=[], cwd="/",
        )  # fmt: skip
        assert not check or (done.returncode, done.stderr) == (0, ""), done
        return done

    def alike(self, *words: str) -> bool:
        return self.as_user(*words, check=False).stdout == self.explain(*words) != ""

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
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="explain-") as base:  # pytest's own are closed to other users
        world = World(Path(base))
        with running(world.gateway):
            yield world
        world.sink.close()


def test_one_that_was_refused(world: World) -> None:
    assert "go" in world.send("bad@x.example", "ann@sink.example")
    until(lambda: world.gateway.command("explain", "--refused", "--from", "bad@x.example", check=False).stdout != "")
    said = world.explain("--refused", "--from", "bad@x.example").splitlines()
    assert "from <bad@x.example> to <ann@sink.example>" in said[0]
    assert "554 5.7.1 <bad@x.example>: Sender address rejected: go" in said[1]
    assert said[2].endswith(f"at {world.base}/senders:1")


def test_one_that_was_delivered_by_an_alias(world: World) -> None:
    queue_id = world.send("joe@x.example", "ann@sink.example")
    text = world.told(queue_id, "by virtual_alias_maps", "sent: 250 2.0.0 Ok")
    assert "ann.smith@sink.example: sent: 250 2.0.0 Ok" in text
    assert "for ann.smith@sink.example, which was ann@sink.example" in text
    assert "recipient ann@sink.example became ann.smith@sink.example, by virtual_alias_maps" in text
    assert f"      hash:{world.base}/virtual has ann@sink.example ({world.base}/virtual:2)\n" in text
    assert f"mail for ann.smith@sink.example was given to smtp:[127.0.0.1]:{world.sink.port}, by transport_maps" in text
    (found,) = world.values(queue_id)
    kinds = [record["kind"] for record in found["records"]]
    assert kinds == ["judged", "mapped", "stored", "mapped", "attempted", "ended"]
    message_id = re.search(r"message (<\S+>)", text)
    assert message_id is not None and world.explain(message_id[1]) == text


def test_one_that_went_through_two_aliases_and_a_canonical_map(world: World) -> None:
    """Canonical form, a virtual alias, an alias of this machine that another one lists, and a name for the outside."""
    queue_id = world.send("old@here.example", "office@here.example")
    text = world.told(queue_id, "by virtual_alias_maps", "was made of it")
    base = world.base
    for says, line in (
        ("sender old@here.example became new@here.example, by canonical_maps",
         f"hash:{base}/canonical has old@here.example ({base}/canonical:2)"),
        ("recipient office@here.example became team@here.example, by virtual_alias_maps",
         f"hash:{base}/virtual has office@here.example ({base}/virtual:3)"),
        ("alias team became staff, by alias_maps", f"hash:{base}/aliases has team ({base}/aliases:1)"),
        ("alias staff became ann@sink.example, by alias_maps", f"hash:{base}/aliases has staff ({base}/aliases:2)"),
    ):  # fmt: skip
        at = text.index(says)
        assert text[at:].splitlines()[1].strip() == line
    forward = re.search(r"([0-9A-F]{6,}) was made of it, for ann\.smith@sink\.example", text)
    assert forward is not None
    text = world.told(forward[1], "by virtual_alias_maps")
    assert f"hash:{base}/virtual has ann@sink.example ({base}/virtual:2)" in text
    assert "other servers see new@here.example as office@outside.example, by smtp_generic_maps" in text
    assert f"hash:{base}/generic has new@here.example ({base}/generic:1)" in text


def test_one_that_was_bounced(world: World) -> None:
    queue_id = world.send("joe@x.example", "no@sink.example")
    text = world.told(queue_id, "was made of it", "handed in")
    assert "no@sink.example: bounced: host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no such user" in text
    assert "what it means: the other server does not know the recipient" in text
    assert re.search(r"[0-9A-F]+ was made of it, for joe@x\.example", text)


def test_one_that_waits(world: World) -> None:
    queue_id = world.send("joe@x.example", "bob@slow.example")
    until(lambda: "deferred" in world.explain(queue_id))
    text = world.explain(queue_id)
    assert "bob@slow.example: deferred: connect to 127.0.0.1[127.0.0.1]" in text
    assert "what it means: the other server can't be reached" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="postsuper is for root")
def test_one_that_an_operator_holds_releases_and_deletes(world: World) -> None:
    queue_id = world.send("joe@x.example", "bob@slow.example")
    until(lambda: "deferred" in world.explain(queue_id))
    world.postsuper("-h", queue_id)
    until(lambda: "on hold since " in world.explain(queue_id))
    world.postsuper("-H", queue_id)
    until(lambda: "released from hold by an operator" in world.explain(queue_id))
    world.postsuper("-d", queue_id)
    until(lambda: "deleted by an operator (postsuper -d) at " in world.explain(queue_id))
    assert "it is tried again" not in world.explain(queue_id)


def test_the_store_is_nobody_elses(world: World) -> None:
    store = world.gateway.queue / "postwarden" / "trace"
    assert store.stat().st_mode & 0o777 == 0o750
    assert {file.stat().st_mode & 0o777 for file in store.iterdir()} == {0o640}


# Who can't read the store


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_an_ordinary_user_is_told_what_root_is(world: World) -> None:
    world.send("bad@x.example", "ann@sink.example")
    queue_id = world.send("joe@x.example", "ann@sink.example")
    until(lambda: "removed" in world.explain(queue_id))
    until(lambda: world.as_user("--refused", check=False).returncode == 0)
    for words in ([queue_id], ["-j", queue_id], ["--refused"], ["-j", "--refused", "--to", "ann@sink.example"]):
        # Between the two answers a process may have written down what it did last.
        until(partial(world.alike, *words))
    nothing = world.as_user("--refused", "--client", "203.0.113.9", check=False)
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert nothing.stderr.startswith("no refusal that fits is recorded (kept for 7d")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_user_who_may_not_list_the_queue_is_told_nothing(world: World) -> None:
    world.gateway.write_main_cf(authorized_mailq_users="!nobody, static:anyone")
    world.gateway.command("reload")
    denied = "User nobody(65534) is not allowed to view what happened to mail"
    until(lambda: denied in world.as_user("--refused", check=False).stderr)
    assert world.as_user("4XyZbC1234z", check=False).stdout == ""
    world.gateway.write_main_cf(authorized_mailq_users="static:anyone")
    world.gateway.command("reload")
    until(lambda: world.as_user("--refused", check=False).returncode == 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_with_the_mail_system_down_a_user_is_told_so(world: World) -> None:
    queue_id = world.send("joe@x.example", "bob@slow.example")
    until(lambda: "deferred" in world.explain(queue_id))
    world.gateway.stop()
    world.postsuper("-d", queue_id)
    assert "deleted by an operator (postsuper -d) at " in world.explain(queue_id)
    store = world.gateway.queue / "postwarden" / "trace"
    assert len({(file.stat().st_uid, file.stat().st_gid) for file in (store, *store.iterdir())}) == 1
    done = world.as_user("--refused", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "trace is not readable for you, and the mail system, which would look for you, is down" in done.stderr
    assert world.explain("--refused")
    world.gateway.start()
    assert world.as_user("--refused").stdout == world.explain("--refused")
