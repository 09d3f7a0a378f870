"""A job that nothing will ever call back for is given up; one that is only slow is not."""

from collections.abc import Callable

from postwarden.mail.host import Host
from postwarden.mail.status import Action, Status
from postwarden.testing.remote import Act, Script
from postwarden.testing.smtp_client import HOST, Bench, FixedHosts, job

Found = Callable[[tuple[Host, ...] | Status], None]


class Deaf(FixedHosts):
    """A bug in routing: the answer never comes, or hours late."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Found] = []

    def find(self, nexthop: str, done: Found) -> None:
        self.waiting.append(done)


def let_pass(bench: Bench, minutes: int) -> None:
    for _ in range(minutes):
        bench.clock.advance(60)
        bench.deliverer.watch()


def test_a_job_that_is_never_called_back_is_put_off() -> None:
    bench = Bench(hosts=Deaf())
    outcomes = bench.begin(job("a@rcpt.example", "b@rcpt.example"))
    let_pass(bench, 60)
    assert not outcomes
    let_pass(bench, 2)
    assert [status.code for status in outcomes[0].results] == ["4.3.0"] * 2
    assert outcomes[0].results[0].action is Action.DEFERRED
    assert bench.log.lines[0] == "smtp: error: 4ABC: no sign of life for 3600 s: given up"
    assert bench.deliverer.busy == 0


def test_what_comes_after_all_is_not_heard() -> None:
    hosts = Deaf()
    bench = Bench(hosts=hosts)
    outcomes = bench.begin(job())
    let_pass(bench, 70)
    hosts.waiting[0]((HOST,))
    bench.clock.advance(1000)
    assert len(outcomes) == 1 and not bench.remotes


def test_a_session_whose_timer_is_lost_is_closed() -> None:
    bench = Bench(Script({"MAIL": Act(then="stall")}))
    outcomes = bench.begin(job())
    bench.clock.advance(1)
    (delivery,) = bench.deliverer._running
    assert delivery._session is not None
    delivery._session._deadline.clear()
    let_pass(bench, 70)
    assert [status.code for status in outcomes[0].results] == ["4.3.0"]
    bench.clock.run()
    assert bench.remotes[0]._stalled
    assert bench.deliverer.busy == 0


def test_a_server_that_takes_its_time_at_each_step_is_waited_for() -> None:
    names = [f"r{number}@rcpt.example" for number in range(30)]
    bench = Bench(Script({"RCPT": Act()}, offer=()))
    outcomes = bench.begin(job(*names))
    for _ in names:
        let_pass(bench, 4)
        remote = bench.remotes[0]
        assert remote.stream is not None
        remote.stream.write(b"250 2.1.5 Ok\r\n")
        bench.clock.run()
    assert outcomes[0].results[0].action is Action.SENT
