"""Which servers a postmaster hears of (notify_classes = protocol): those of which Postfix's smtp(8) told."""

from pathlib import Path

import pytest

from postwarden.ipc.records import Troubled
from postwarden.testing.misbehaviour import Case, cases, content_cases
from postwarden.testing.remote import Act, Script
from postwarden.testing.smtp_client import TIMED_STAGES, Bench, PlayedTls, job, job_for

TOLD = frozenset((Path(__file__).parent / "transcripts.txt").read_text().splitlines())
CASES = (*cases(), *content_cases())


def told(bench: Bench) -> list[Troubled]:
    records: list[Troubled] = []
    bench.deliverer.troubled = records.append
    return records


def test_the_list_names_cases() -> None:
    assert {case.name for case in CASES} > TOLD


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_who_is_told_of(case: Case) -> None:
    parameters = {f"smtp_{stage}_timeout": "2s" for stage in TIMED_STAGES} | dict(case.parameters)
    bench = Bench(case.script, tls=PlayedTls(), parameters=parameters | {"notify_classes": "protocol"})
    records = told(bench)
    bench.deliver(job_for(case))
    bench.clock.advance(700)
    assert len(records) == (1 if case.name in TOLD else 0)


ODD = Script({"RCPT": b"501 5.5.4 Unknown parameter\r\n"})


def test_what_was_said() -> None:
    bench = Bench(ODD, parameters={"notify_classes": "protocol", "smtp_connection_cache_on_demand": "no"})
    records = told(bench)
    bench.deliver(job("to@rcpt.example", queue_id="4ABC"))
    bench.clock.advance(1)
    record = records[0]
    assert (record.server, record.protocol) == ("mx.remote.example[127.0.0.9]:25", "SMTP")
    assert record.transcript[:2] == (" In:  220 mx.remote.example ESMTP", " Out: EHLO mx.example.com")
    assert record.transcript[-9:] == (
        " Out: MAIL FROM:<from@sender.example> SIZE=77",
        " Out: RCPT TO:<to@rcpt.example> ORCPT=rfc822;to@rcpt.example",
        " Out: DATA",
        " In:  250 2.1.0 Ok",
        " In:  501 5.5.4 Unknown parameter",
        " In:  354 End data with <CR><LF>.<CR><LF>",
        " Out: .",
        " Out: QUIT",
        " In:  250 2.0.0 Ok: queued as 4Z",
    )


@pytest.mark.parametrize("sender", ["", "double-bounce@mx.example.com", "Double-Bounce@MX.example.com"])
def test_nobody_is_told_of_what_became_of_being_told(sender: str) -> None:
    bench = Bench(ODD, parameters={"notify_classes": "protocol"})
    records = told(bench)
    bench.deliver(job(sender=sender))
    bench.clock.advance(700)
    assert not records


def test_by_default_nothing_is_remembered() -> None:
    bench = Bench(ODD)
    records = told(bench)
    outcomes = bench.begin(job())
    bench.clock.advance(700)
    assert outcomes and not records


def test_lmtp_and_a_server_that_stays_silent_after_nonsense() -> None:
    bench = Bench(Script({"LHLO": Act(b"what?\r\n")}, lmtp=True), lmtp=True, parameters={"notify_classes": "protocol"})
    records = told(bench)
    bench.deliver(job())
    assert records[0].protocol == "LMTP"
    assert records[0].transcript[-2:] == (" Out: LHLO mx.example.com", " In:  what?")
