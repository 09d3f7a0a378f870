"""best_mx_transport: mail that would come back to us goes on by another transport. Texts are smtp(8)'s."""

import pytest

from postwarden.ipc.records import Forward, Outcome
from postwarden.mail.status import Status
from postwarden.testing.smtp_client import Bench, FixedHosts, job

LOOP = Status("5.4.6", "mail for rcpt.example loops back to myself")


def delivered(bench: Bench, *people: str) -> tuple[Outcome, list[Forward]]:
    outcomes: list[Outcome] = []
    forwards: list[Forward] = []
    bench.deliverer.deliver(job(*people), b"", outcomes.append, forwards.append)
    bench.clock.run()
    return outcomes[0], forwards


@pytest.mark.parametrize(
    ("setting", "transport", "nexthop"),
    [
        ("local", "local", "rcpt.example"),
        ("local:", "local", "rcpt.example"),
        ("smtp:[192.0.2.9]:26", "smtp", "[192.0.2.9]:26"),
        ("discard:silently", "discard", "silently"),
    ],
)
def test_each_recipient_goes_on(setting: str, transport: str, nexthop: str) -> None:
    bench = Bench(hosts=FixedHosts(failure=LOOP), parameters={"best_mx_transport": setting})
    outcome, forwards = delivered(bench, "a@rcpt.example", '"b c"@rcpt.example')
    assert forwards == [Forward(1, at, "", (), transport, nexthop) for at in (0, 1)]
    assert [status.code for status in outcome.results] == ["2.0.0", "2.0.0"]
    assert outcome.destination_fault is None
    assert [(step.parameter, step.before, step.after) for step in outcome.remade] == [
        ("best_mx_transport", who, (f"{transport}:{nexthop}",)) for who in ("a@rcpt.example", '"b c"@rcpt.example')
    ]
    assert bench.log.lines[0] == f"smtp: 4ABC: passing <a@rcpt.example> to transport={transport}"
    assert len(bench.log.lines) == 2


def test_other_mail_is_none_of_it() -> None:
    for failure in (Status("5.4.4", "no such host"), Status("4.4.3", "later")):
        bench = Bench(hosts=FixedHosts(failure=failure), parameters={"best_mx_transport": "local"})
        outcome, forwards = delivered(bench)
        assert not forwards and outcome.results == (failure,)
    outcome, forwards = delivered(Bench(hosts=FixedHosts(failure=LOOP)))
    assert not forwards and outcome.results == (LOOP,)


def test_a_setting_that_leads_nowhere_else_waits() -> None:
    bench = Bench(hosts=FixedHosts(failure=LOOP), parameters={"best_mx_transport": "smtp"})
    outcome, forwards = delivered(bench)
    assert not forwards and outcome.results[0].code == "4.3.5"
    assert bench.log.lines[0] == "smtp: warning: best_mx_transport does not lead away from this transport"


def test_lmtp_knows_it_too() -> None:
    bench = Bench(lmtp=True, hosts=FixedHosts(failure=LOOP), parameters={"best_mx_transport": "local"})
    _, forwards = delivered(bench)
    assert [forward.transport for forward in forwards] == ["local"]
