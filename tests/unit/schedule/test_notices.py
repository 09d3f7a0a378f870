"""Mail to the postmaster that carriers ask for: stored by the courier, and delivered as any other."""

from tests.unit.schedule.test_courier import World

from postwarden.ipc.records import Troubled
from postwarden.mail.decision import Pending
from postwarden.mail.status import Status

RECORD = Troubled("mx.far.example[192.0.2.1]:25", "LMTP", (" In:  What?", " Out: QUIT"))


def world(recipient: str = "pm@smtp.example.com") -> World:
    return World(error_notice_recipient=recipient)


def test_it_is_taken_up_and_delivered() -> None:
    made = world()
    made.courier.troubled(RECORD)
    made.clock.run()
    (job,) = made.remote.jobs
    assert (job.sender, [to.address for to in job.recipients]) == (
        "double-bounce@mx.example.com",
        ["pm@smtp.example.com"],
    )
    assert job.recipients[0].notify == 1 and job.client is None
    head = job.head.decode()
    assert head.startswith("Received: by mx.example.com (Postfix)\r\n\tid ")
    assert "To: Postmaster <pm@smtp.example.com>\r\n" in head
    assert head.endswith("Subject: Postfix LMTP client: errors from mx.far.example[192.0.2.1]:25\r\n\r\n")
    assert job.body == (
        b"Unexpected response from mx.far.example[192.0.2.1]:25.\r\n\r\nTranscript of session follows.\r\n\r\n"
        b" In:  What?\r\n Out: QUIT\r\n\r\nFor other details, see the local mail logfile\r\n"
    )
    assert job.size == len(job.head) + len(job.body)
    made.answer(job)
    assert made.ledger.held == {}


def test_a_fact_that_is_lacking_is_fetched_first() -> None:
    made = world()
    facts: list[str] = []

    def clerk(*both: object) -> object:
        if not facts:
            raise Pending(lambda: None)  # type: ignore[arg-type,return-value]
        return both

    made.clerk = clerk  # type: ignore[assignment]
    made.courier.troubled(RECORD)
    made.clock.run()
    assert not made.remote.jobs
    facts.append("here")
    made.fetches[0][1]()
    made.clock.run()
    assert len(made.remote.jobs) == 1


def test_what_content_refuses_is_logged_and_no_more() -> None:
    made = world()
    made.clerk = lambda *both: Status("4.3.0", "Error: queue file write error")
    made.courier.troubled(RECORD)
    made.clock.run()
    assert made.lines() == ["smtp: warning: postmaster notify: Error: queue file write error"]


def test_a_thousand_servers_are_told_of_a_hundred_times() -> None:
    made = world()
    for _ in range(1000):
        made.courier.troubled(RECORD)
    made.clock.run()
    assert made.courier.figures["active"] == 100
    assert sum("those that follow are left out" in line for line in made.lines()) == 1
    made.clock.advance(60)
    made.courier.troubled(RECORD)
    made.clock.run()
    assert made.courier.figures["active"] == 101


def test_a_carrier_is_not_believed_to_be_brief() -> None:
    made = world()
    made.courier.troubled(
        Troubled("x\r\nBcc: all@example.com " * 1000, "LMTP", (" In:  a\r\nb",) + ("y" * 1000,) * 50_000)
    )
    made.clock.run()
    (job,) = made.remote.jobs
    assert job.size < 200_000 and b"\nBcc" not in job.head
    assert b" In:  a??b\r\n" in (job.body or b"") and b"\r\n ...\r\n" in (job.body or b"")
