"""A connection through several messages."""

import os
import weakref

import pytest

from postwarden.deliver.body import FileBody
from postwarden.mail.status import Action
from postwarden.testing.misbehaviour import PLAIN
from postwarden.testing.remote import END, OFFER, Act, Script
from postwarden.testing.smtp_client import Bench, job

NO = b"550 5.1.1 No\r\n"


def test_it_is_used_again_and_ends_with_quit() -> None:
    bench = Bench()
    for number in range(3):
        assert bench.deliver(job(job_id=number)).results[0].action is Action.SENT
    (remote,) = bench.remotes
    assert len(remote.messages) == 3
    assert bench.hosts.asked == ["rcpt.example"]
    assert "conn_use=3" in bench.log.lines[-1]
    bench.clock.advance(1.9)
    assert remote.commands[-1] == b"DATA"
    bench.clock.advance(0.2)
    assert remote.commands[-1] == b"QUIT"
    bench.deliver(job())
    assert len(bench.remotes) == 2


@pytest.mark.parametrize(
    ("parameters", "connections"),
    [
        ({"smtp_connection_cache_on_demand": "no"}, 4),
        ({"smtp_connection_reuse_count_limit": "1"}, 2),
        ({"smtp_connection_reuse_time_limit": "1s"}, 2),
        ({"smtp_connection_cache_on_demand": "no", "smtp_connection_cache_destinations": "RCPT.example"}, 1),
        ({"smtp_connection_cache_on_demand": "no", "smtp_connection_cache_destinations": "other.example"}, 4),
    ],
)
def test_limits_of_reuse(parameters: dict[str, str], connections: int) -> None:
    bench = Bench(parameters=parameters)
    for _ in range(4):
        bench.deliver(job())
        bench.clock.advance(0.4)
    assert len(bench.remotes) == connections
    for remote in bench.remotes[:-1]:
        assert remote.commands[-1] == b"QUIT"


def test_each_next_hop_has_its_own() -> None:
    bench = Bench()
    bench.deliver(job())
    bench.deliver(job(nexthop="other.example"))
    assert len(bench.remotes) == 2


def test_jobs_at_the_same_time_have_their_own() -> None:
    bench = Bench()
    outcomes = [bench.begin(job(job_id=n)) for n in range(3)]
    bench.clock.run()
    assert all(len(one) == 1 for one in outcomes)
    first: list[object] = []
    bench.deliverer.deliver(job(), b"", first.append)
    bench.deliverer.deliver(job(), b"", first.append)
    bench.clock.run()
    assert len(first) == 2
    assert len(bench.remotes) == 2


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", END])
def test_after_a_refusal_it_is_reset_and_used_again(stage: str) -> None:
    bench = Bench(Script({stage: (NO, b"354 go\r\n" if stage == "DATA" else b"250 2.0.0 Ok\r\n")}, PLAIN))
    assert bench.deliver(job()).results[0].action is Action.BOUNCED
    assert bench.deliver(job()).results[0].action is Action.SENT
    (remote,) = bench.remotes
    assert (b"RSET" in remote.commands) == (stage != END)


@pytest.mark.parametrize(("act", "seconds"), [(Act(b"", "stall"), 20), (Act(b"", "close"), 0), (b"250 Ok\r\n", 0)])
def test_a_delivery_keeps_its_place_until_the_reset_is_answered(act: Act | bytes, seconds: int) -> None:
    bench = Bench(Script({"MAIL": NO, "RSET": act}, PLAIN))
    outcomes = bench.begin(job())
    if seconds:
        bench.clock.advance(seconds - 1)
        assert not outcomes
        bench.clock.advance(2)
    bench.clock.run()
    assert [outcome.results[0].action for outcome in outcomes] == [Action.BOUNCED]


def test_a_refused_reset_ends_it() -> None:
    bench = Bench(Script({"MAIL": (NO, b"250 2.0.0 Ok\r\n"), "RSET": b"500 5.5.1 What?\r\n"}, PLAIN))
    bench.deliver(job())
    bench.deliver(job())
    assert len(bench.remotes) == 2
    assert bench.remotes[0].commands[-1] == b"QUIT"


@pytest.mark.parametrize("act", [Act(b"", "close"), Act(b"421 4.4.2 Idle\r\n", "close"), Act(b"", "reset")])
def test_a_connection_that_died_while_it_rested_costs_nothing(act: Act) -> None:
    bench = Bench(Script({"MAIL": (b"250 2.1.0 Ok\r\n", act)}), Script())
    bench.deliver(job())
    assert bench.deliver(job()).results[0].action is Action.SENT
    assert len(bench.remotes) == 2
    assert len(bench.remotes[1].messages) == 1


def test_a_dead_connection_is_not_blamed_on_the_next_server() -> None:
    bench = Bench(Script({"MAIL": (b"250 2.1.0 Ok\r\n", Act(b"", "close"))}))
    bench.deliver(job())
    outcome = bench.deliver(job())
    assert outcome.results[0].action is Action.SENT  # over a third connection: the script's first MAIL again


@pytest.mark.parametrize("said", [b"421 4.4.2 Idle too long\r\n", b"250 2.0.0 Ok\r\n", b"25"])
def test_what_is_said_while_it_rests_is_no_answer(said: bytes) -> None:
    bench = Bench()
    bench.deliver(job())
    stream = bench.remotes[0].stream
    assert stream is not None
    stream.write(said)
    bench.clock.run()
    bench.deliver(job())
    assert len(bench.remotes) == 2
    assert bench.remotes[0].commands[-1] == b"QUIT"


def test_closed_while_it_rests() -> None:
    bench = Bench()
    bench.deliver(job())
    stream = bench.remotes[0].stream
    assert stream is not None
    stream.close()
    bench.clock.run()
    bench.deliver(job())
    assert len(bench.remotes) == 2


def test_a_server_that_speaks_garbage_gets_no_second_message() -> None:
    bench = Bench(Script({END: b"hello?\r\n250 2.0.0 Ok\r\n"}))
    bench.deliver(job())
    bench.deliver(job())
    assert len(bench.remotes) == 2


def test_the_answer_to_quit_may_be_waited_for() -> None:
    bench = Bench(
        Script({"QUIT": Act(b"", "stall")}),
        parameters={"smtp_skip_quit_response": "no", "smtp_quit_timeout": "7s"},
    )
    bench.deliver(job())
    bench.clock.advance(5)
    assert not bench.remotes[0].closed_by_peer
    bench.clock.advance(10)
    assert bench.clock.next_timer() is None


def test_close_says_quit() -> None:
    bench = Bench()
    bench.deliver(job())
    bench.deliverer.close()
    bench.clock.run()
    assert bench.remotes[0].commands[-1] == b"QUIT"
    bench.deliver(job())
    assert bench.remotes[1].commands[-1] == b"QUIT"


def test_lmtp_has_a_verdict_for_each_recipient() -> None:
    script = Script(
        {END: (b"250 2.1.5 One\r\n", b"550 5.2.2 Two is full\r\n", b"450 4.2.1 Three later\r\n"),
         "RCPT": (b"250 Ok\r\n", b"550 5.1.1 Nobody\r\n", b"250 Ok\r\n", b"250 Ok\r\n")},
        OFFER,
        lmtp=True,
    )  # fmt: skip
    bench = Bench(script, lmtp=True)
    outcome = bench.deliver(job(*(f"{name}@x.example" for name in "abcd")))
    assert [status.code for status in outcome.results] == ["2.1.5", "5.1.1", "5.2.2", "4.2.1"]
    assert bench.remotes[0].commands[0] == b"LHLO mx.example.com"
    assert bench.log.lines[0].startswith("lmtp: ")


def test_lmtp_lost_between_verdicts() -> None:
    script = Script({END: (b"250 2.1.5 One\r\n", Act(b"", "close"))}, lmtp=True)
    outcome = Bench(script, lmtp=True).deliver(job("a@x.example", "b@x.example"))
    assert [status.code for status in outcome.results] == ["2.1.5", "4.4.2"]


@pytest.mark.parametrize("offer", [OFFER, PLAIN])
def test_quit_goes_with_the_last_dot(offer: tuple[str, ...]) -> None:
    bench = Bench(Script({END: NO}, offer), parameters={"smtp_connection_cache_on_demand": "no"})
    assert bench.deliver(job()).results[0].code == "5.1.1"
    assert bench.remotes[0].commands[-1] == b"QUIT"
    assert bench.clock.next_timer() is None


def test_a_resting_connection_holds_no_message() -> None:
    bench = Bench()
    outcomes: list[object] = []
    bench.deliverer.deliver(job(body=None), body := FileBody(os.dup(0), 0, 0), outcomes.append)
    bench.clock.run()
    assert len(outcomes) == 1
    gone = weakref.ref(body)
    del body
    assert gone() is None
