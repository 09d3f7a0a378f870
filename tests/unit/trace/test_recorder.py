"""What the stages tell, as it is kept."""

from pathlib import Path

from postwarden.mail.decision import BUILT_IN, Decision, Fact, Rule, Verdict
from postwarden.mail.envelope import Client
from postwarden.mail.reply import Reply
from postwarden.mail.session import SessionFacts
from postwarden.testing.clock import VirtualClock
from postwarden.trace.files import read
from postwarden.trace.recorder import Recorder
from postwarden.trace.records import Judged


def test_a_name_of_a_session_never_comes_back(tmp_path: Path) -> None:
    """Process ids do: in a container the receiver has the same one at each start."""
    lives = [Recorder(str(tmp_path), "receiver1", VirtualClock(), print) for _ in range(2)]
    names = [life.session() for life in lives for _ in range(3)]
    assert len(set(names)) == 6


def test_a_refusal_with_all_that_was_known(tmp_path: Path) -> None:
    clock = VirtualClock()
    recorder = Recorder(str(tmp_path / "trace"), "receiver1", clock, print)
    reply = Reply(554, "5.7.1", "no", recorder.reference())
    fact = Fact("recipient", "a@b.example", "none")
    decision = Decision(Verdict.REJECT, Rule("reject", "", BUILT_IN), (fact,), reply)
    facts = SessionFacts(Client("mx.example", "192.0.2.1"), sender="s@x.example", queue_id="Q1")
    recorder.judged(("s", "smtp/inet"), "DATA", facts, decision, reply, recipients=("a@b.example",), policy=False)
    clock.advance(1)
    (found,) = read(str(tmp_path / "trace"))
    assert isinstance(found, Judged)
    assert found.reply == f"554 5.7.1 no [ref {reply.reference}]"
    assert (found.reference, found.recipients, found.policy) == (reply.reference, ("a@b.example",), False)
    assert (found.known, found.queue_id, found.verdict) == ((fact,), "Q1", "reject")
