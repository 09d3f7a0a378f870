"""explain of a message that an operator had his hands on, or that was forwarded: how it stands is said first."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.unit.cli.test_explain import Asker

from postwarden.ipc.queue_records import DELETE, EXPIRE, HOLD, RELEASE, REQUEUE
from postwarden.mail.decision import BUILT_IN, Decision, Effect, Fact, Rule, Verdict
from postwarden.mail.envelope import Client, Envelope, Recipient
from postwarden.mail.session import SessionFacts
from postwarden.mail.status import Status
from postwarden.testing.clock import VirtualClock
from postwarden.trace import files
from postwarden.trace.recorder import Recorder

ANN = Recipient("ann@far.example")
REFUSED = Status("4.4.1", "connect to mx[192.0.2.1]:25: Connection refused")
SENT = Status("2.0.0", "250 ok")
MESSAGE = Envelope("4XyZbC1234z", 0.0, "me@here.example", (ANN,), 1, message_id="<m@here.example>", user="65534")
FORWARD = replace(MESSAGE, queue_id="4XyZbC5678y", recipients=(Recipient("joe@far.example"),), message_id="<f@x>")
AGAIN = "if all servers are so"


class Store:
    def __init__(self, asker: Asker, base: Path) -> None:
        self._asker, self._clock = asker, VirtualClock()
        asker.configure(f"myhostname = mx.here.example\nqueue_directory = {base}\n")
        (base / "postwarden").mkdir()
        self.recorder = Recorder(files.directory(str(base / "postwarden")), "courier", self._clock, print)
        self.recorder.stored(MESSAGE)

    def tick(self) -> Recorder:
        self._clock.advance(1)
        return self.recorder

    def told(self) -> list[str]:
        self._clock.advance(1)
        code, said = self._asker.ask(MESSAGE.queue_id)
        assert code == 0
        return said

    def head(self) -> str:
        """What comes before the single events."""
        said = self.told()
        return "\n".join(said[: said.index("")])


@pytest.fixture
def store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Store:
    return Store(Asker(tmp_path, capsys), tmp_path)


@pytest.mark.parametrize("operation", [DELETE, REQUEUE])
def test_what_is_gone_is_not_tried_again(store: Store, operation: str) -> None:
    store.tick().attempted(MESSAGE.queue_id, ANN, REFUSED, ("smtp", "far.example"))
    assert AGAIN in store.head()
    store.tick().operated(MESSAGE.queue_id, operation)
    head = store.head()
    assert f"{operation}d by an operator (postsuper -" in head
    assert "ann@far.example: no longer tried; at " in head
    assert AGAIN not in head
    assert "by an operator (postsuper" in store.told()[-1]


def test_what_is_held_says_since_when_and_what_lets_it_go(store: Store) -> None:
    store.tick().attempted(MESSAGE.queue_id, ANN, REFUSED, ("smtp", "far.example"))
    store.tick().operated(MESSAGE.queue_id, HOLD)
    head = store.head()
    assert "on hold since " in head and f"postsuper -H {MESSAGE.queue_id}" in head
    assert "ann@far.example: on hold; at " in head and AGAIN not in head
    store.tick().operated(MESSAGE.queue_id, RELEASE)
    assert "on hold" not in store.head()
    said = "\n".join(store.told())
    assert "put on hold by an operator" in said and "released from hold by an operator" in said
    store.tick().operated(MESSAGE.queue_id, EXPIRE)
    assert "expired by an operator (postsuper -e)" in store.told()[-1]


def test_what_a_restriction_holds_is_on_hold(store: Store, tmp_path: Path) -> None:
    rule = Rule("check_sender_access", "hash:/x", BUILT_IN)
    effect = Effect("hold", "", "", rule, (Fact("sender", "a@b.example", "HOLD"),))
    facts = SessionFacts(Client("mx.example", "192.0.2.1"), sender="a@b.example", queue_id=MESSAGE.queue_id)
    store.recorder.judged(("s1", "smtp/inet"), "RCPT", facts, Decision(Verdict.PERMIT, rule, (), None, (effect,)), None,
                          recipient=ANN.address)  # fmt: skip
    store.tick().stored(MESSAGE, session="s1")
    assert ", by check_sender_access hash:/x" in store.head()
    store.tick().operated(MESSAGE.queue_id, RELEASE)
    assert "on hold" not in store.head()


def test_who_called_sendmail_is_said(store: Store) -> None:
    assert "from <me@here.example>, handed in by local uid 65534" in store.head()


def test_what_became_of_a_forward_is_said_with_the_message(store: Store) -> None:
    joe = FORWARD.recipients[0]
    store.tick().attempted(MESSAGE.queue_id, ANN, SENT, ("local", "localhost"))
    store.recorder.stored(FORWARD, parent=MESSAGE.queue_id)
    store.recorder.ended(MESSAGE.queue_id)
    assert f"{FORWARD.queue_id}, made of it, for joe@far.example: not tried yet" in store.head()
    store.tick().attempted(FORWARD.queue_id, joe, REFUSED, ("smtp", "far.example"))
    assert f"{FORWARD.queue_id}, made of it, for joe@far.example: deferred: connect to mx" in store.head()
    store.tick().operated(FORWARD.queue_id, DELETE)
    assert "joe@far.example: no longer tried" in store.head()
