"""One message: bursts, big bodies, and that nothing is called delivered which was not."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from postwarden.config.view import view
from postwarden.deliver.body import FileBody
from postwarden.deliver.smtp.params import LmtpParams, SmtpParams, lmtp_profile, smtp_profile
from postwarden.mail.envelope import Client
from postwarden.mail.status import Action
from postwarden.testing.config import settings as config
from postwarden.testing.misbehaviour import HEAD, PLAIN
from postwarden.testing.remote import BANNER, END, OFFER, Act, Remote, Script
from postwarden.testing.smtp_client import HOST, Bench, job


def test_a_thousand_recipients_go_in_bursts() -> None:
    bench = Bench(Script({"MAIL": b"550 5.7.1 No\r\n"}))
    outcome = bench.deliver(job(*(f"recipient{n}@x.example" for n in range(1000))))
    assert {status.code for status in outcome.results} == {"5.7.1"}
    assert len(bench.remotes[0].commands) < 100

    bench = Bench()
    bench.deliver(job(*(f"recipient{n}@x.example" for n in range(1000))))
    assert len(bench.remotes[0].messages[0].rcpts) == 1000


def test_one_by_one_without_pipelining() -> None:
    class Patient(Remote):
        def received(self, data: bytes) -> None:
            if not self._in_data:
                assert data.count(b"\r\n") == 1
            super().received(data)

    bench = Bench(servers={(HOST.address, 25): lambda: Patient(Script(offer=PLAIN))})
    assert bench.deliver(job("a@x.example", "b@x.example")).results[1].action is Action.SENT


def test_xforward() -> None:
    script = Script({"XFORWARD": (b"250 Ok\r\n", b"501 5.5.4 Bad\r\n")}, (*OFFER, "XFORWARD NAME ADDR PROTO HELO"))
    bench = Bench(script, parameters={"smtp_send_xforward_command": "yes"})
    assert bench.deliver(job(client=Client("c.example", "192.0.2.9", helo="h"))).results[0].action is Action.SENT
    assert bench.remotes[0].commands[1:3] == [
        b"XFORWARD NAME=c.example ADDR=192.0.2.9",
        b"XFORWARD PROTO=SMTP HELO=h",
    ]
    assert "said: 501 5.5.4 Bad (in reply to XFORWARD" in bench.log.lines[0]


def test_verification_says_nothing_of_content() -> None:
    refusing = Script({"RCPT": (b"250 2.1.5 Fine\r\n", b"550 5.1.1 No\r\n", b"450 4.2.0 Later\r\n")})
    bench = Bench(refusing)
    outcome = bench.deliver(job("a@x.example", "b@x.example", "c@x.example", trace="verify"))
    assert [(status.code, status.verified) for status in outcome.results] == [
        ("2.1.5", True), ("5.1.1", True), ("4.2.0", True),
    ]  # fmt: skip
    verbs = [line.split(b" ")[0] for line in bench.remotes[0].commands]
    assert verbs[:6] == [b"EHLO", b"MAIL", b"RCPT", b"RCPT", b"RCPT", b"RSET"]
    assert bench.remotes[0].messages == []
    assert [line.partition("status=")[2].split(" ")[0] for line in bench.log.lines if "status=" in line] == [
        "deliverable", "undeliverable", "undeliverable",
    ]  # fmt: skip


def test_verification_by_the_answer_to_data() -> None:
    refusing = Script({"RCPT": (b"250 2.1.5 Fine\r\n", b"550 5.1.1 No\r\n"), "DATA": b"354 go\r\n"})
    bench = Bench(refusing, parameters={"smtp_address_verify_target": "data"})
    outcome = bench.deliver(job("a@x.example", "b@x.example", trace="verify"))
    assert [(status.code, status.text) for status in outcome.results] == [
        ("2.0.0", "354 go"),
        ("5.1.1", "host mx.remote.example[127.0.0.9] said: 550 5.1.1 No (in reply to RCPT TO command)"),
    ]
    assert all(status.verified for status in outcome.results)
    assert bench.remotes[0].messages == [] or not bench.remotes[0].messages[0].content
    assert b"QUIT" not in bench.remotes[0].commands


def test_verification_by_a_refusal_of_data() -> None:
    bench = Bench(Script({"DATA": b"554 5.7.1 No\r\n"}), parameters={"smtp_address_verify_target": "data"})
    (status,) = bench.deliver(job("a@x.example", trace="verify")).results
    assert (status.code, status.verified) == ("5.7.1", True)
    assert "(in reply to DATA command)" in status.text


@pytest.mark.parametrize("answer", [b"550 5.7.1 No\r\n", b"421 4.3.0 Bye\r\n"])
def test_verification_of_a_sender_who_is_refused(answer: bytes) -> None:
    bench = Bench(Script({"MAIL": answer}))
    outcome = bench.deliver(job("a@x.example", "b@x.example", trace="verify"))
    assert [status.code[0] for status in outcome.results] == [answer[4:5].decode()] * 2


@pytest.mark.parametrize(("offer", "report"), [(OFFER, "relayed"), ((*OFFER, "DSN"), "passed")])
def test_who_reports_success(offer: tuple[str, ...], report: str) -> None:
    bench = Bench(Script(offer=tuple(word for word in offer if word != "DSN" or report == "passed")))
    assert bench.deliver(job()).results[0].report == report


@pytest.mark.parametrize("final", [False, True])
def test_a_mailbox_server_without_dsn_may_be_the_end(final: bool) -> None:
    parameters = {"lmtp_assume_final": "yes" if final else "no"}
    assert lmtp_profile(view(LmtpParams, config(**parameters))).final is final
    assert not smtp_profile(view(SmtpParams, config(**parameters))).final


def test_an_address_with_control_characters_goes_nowhere() -> None:
    bench = Bench()
    outcome = bench.deliver(job("a\r\nRSET@x.example", "b@x.example"))
    assert [status.code for status in outcome.results] == ["5.1.3", "2.0.0"]
    assert bench.deliver(job("a\n@x.example")).results[0].code == "5.1.3"
    assert bench.deliver(job(sender="a\n@x.example")).results[0].code == "5.1.7"
    assert bench.deliver(job()).results[0].action is Action.SENT
    assert len(bench.remotes) == 1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "body"
    path.write_bytes(b"skipped" + (b".line\r\n" * 150_000) + b"and more")
    return path


def body_of(path: Path, size: int = 7 * 150_000) -> FileBody:
    return FileBody(os.open(path, os.O_RDONLY), 7, size)


def test_a_body_in_a_file(file: Path) -> None:
    bench = Bench()
    body = body_of(file)
    assert bench.deliver(job(body=None), body).results[0].action is Action.SENT
    assert bench.remotes[0].messages[0].content == HEAD + b"..line\r\n" * 150_000
    with pytest.raises(OSError, match="Bad file"):
        body.read(0, 1)


def test_a_file_that_is_too_short_breaks_the_connection(file: Path) -> None:
    bench = Bench()
    outcome = bench.deliver(job(body=None), body_of(file, 10_000_000))
    assert (outcome.results[0].code, bench.remotes[0].messages) == ("4.3.0", [])
    assert outcome.results[0].text == "local data error while talking to mx.remote.example[127.0.0.9]"


class Reluctant(Remote):
    """Reads nothing of the content until it is told to."""

    def received(self, data: bytes) -> None:
        super().received(data)
        if self._in_data and self.stream is not None and not hasattr(self, "waited"):
            self.waited = True
            self.stream.pause()


def test_no_more_is_sent_than_the_server_takes(file: Path) -> None:
    remote = Reluctant(Script())
    bench = Bench(servers={(HOST.address, 25): lambda: remote})
    outcomes = bench.begin(job(body=None), body_of(file))
    assert remote.stream is not None
    waiting = remote.stream._waiting  # type: ignore[attr-defined]
    assert waiting < 700_000
    bench.clock.advance(100)
    assert not outcomes
    remote.stream.resume()
    bench.clock.run()
    assert outcomes[0].results[0].action is Action.SENT


def test_a_server_that_stops_reading(file: Path) -> None:
    remote = Reluctant(Script())
    bench = Bench(servers={(HOST.address, 25): lambda: remote})
    outcomes = bench.begin(job(body=None), body_of(file))
    bench.clock.advance(179)
    assert not outcomes
    bench.clock.advance(2)
    assert outcomes[0].results[0].text.endswith("timed out while sending message body")


@pytest.mark.parametrize(
    ("unasked", "code"),
    [
        (b"552 5.3.4 Too big\r\n", "5.3.4"),
        (b"250 2.0.0 Thanks\r\n", "4.5.0"),
        (b"25", "4.5.0"),
        (b"354 x\r\n", "4.5.0"),
    ],
)
def test_a_reply_before_the_end_is_no_acceptance(unasked: bytes, code: str) -> None:
    bench = Bench(Script({"DATA": b"354 go\r\n" + unasked}))
    assert bench.deliver(job()).results[0].code == code


ANSWERS = st.one_of(
    st.sampled_from(
        [b"250 2.0.0 Ok\r\n", b"354 go\r\n", b"450 4.2.1 x\r\n", b"550 5.1.1 x\r\n", b"421 x\r\n", b"", b"220 x\r\n"]
    ),
    st.binary(max_size=20),
    st.binary(max_size=5).map(lambda data: b"250 " + data + b"\r\n"),
    st.lists(st.sampled_from([b"250 x\r\n", b"354 x\r\n", b"250-x\r\n"]), max_size=4).map(b"".join),
)
ACTS = st.builds(Act, ANSWERS, st.sampled_from(["", "", "", "close", "stall", "reset"]))
VERBS = st.sampled_from([BANNER, "EHLO", "HELO", "STARTTLS", "MAIL", "RCPT", "DATA", END, "RSET", "QUIT"])
SCRIPTS = st.builds(
    Script,
    st.dictionaries(VERBS, st.one_of(ACTS, st.tuples(ACTS, ACTS)), max_size=4),
    st.sets(st.sampled_from([*OFFER, "STARTTLS", "SIZE 10", "SIZE x"])).map(tuple),
)


def answers_twice(script: Script) -> bool:
    """It says 3xx where nobody said DATA, or more after DATA: a second reply to one command, which can't be told from
    the reply to the next. Such a server does not know itself what it has taken."""
    for verb, acts in script.acts.items():
        said = [act.say if isinstance(act, Act) else act for act in (acts if isinstance(acts, tuple) else (acts,))]
        if verb != "DATA" and any(line[:1] == b"3" for text in said for line in text.splitlines()):
            return True
        if verb == "DATA" and any(sum(line[3:4] != b"-" for line in text.splitlines()) > 1 for text in said):
            return True
    return False


@settings(deadline=None, max_examples=200)
@given(st.lists(SCRIPTS, min_size=1, max_size=3), st.integers(1, 3), st.sampled_from([0, 1]))
def test_any_server_at_all(scripts: list[Script], count: int, chunk: int) -> None:
    """Each job has one outcome with a status for each recipient; what is called sent has been sent whole; and two
    messages are never mixed up."""
    bench = Bench(*scripts, chunk=chunk)
    for number in range(3):
        names = [f"r{n}@x{number}.example" for n in range(count)]
        body = b"message %d\r\n" % number
        outcome = bench.deliver(job(*names, job_id=number, body=body), body, wait=20_000)
        assert len(outcome.results) == count
        got = [message for remote in bench.remotes for message in remote.messages]
        for index, status in enumerate(outcome.results):
            if status.action is Action.SENT and not any(map(answers_twice, scripts)):
                rcpt = b"RCPT TO:<" + names[index].encode()
                assert any(
                    message.content.endswith(body) and any(line.startswith(rcpt) for line in message.rcpts)
                    for message in got
                )
        for message in got:
            domains = {line.partition(b"@")[2].partition(b">")[0] for line in message.rcpts}
            assert len(domains) == 1
            assert message.content in (b"", HEAD + b"message %c\r\n" % domains.pop()[1])
    bench.clock.advance(10)
    assert not bench.deliverer.busy


def test_a_server_that_talks_instead_of_reading_is_not_listened_to_without_end(file: Path) -> None:
    remote = Reluctant(Script())
    bench = Bench(servers={(HOST.address, 25): lambda: remote})
    outcomes = bench.begin(job(body=None), body_of(file))
    assert remote.stream is not None
    said = 0
    while not outcomes:
        said += 1
        assert said < 1000
        remote.stream.write(b"250 me too\r\n" * 100)
        bench.clock.run()
    (status,) = outcomes[0].results
    assert (status.code, status.action) == ("4.5.0", Action.DEFERRED)
    assert status.text.endswith("its reply has no end")


def test_probes_are_dropped_and_mail_goes_on() -> None:
    remote = Reluctant(Script({"RCPT": Act(b"", then="stall")}))
    bench = Bench(servers={(HOST.address, 25): lambda: remote})
    mail = bench.begin(job())
    probe = bench.begin(replace(job(trace="verify"), probe=True))
    bench.deliverer.drop_probes()
    bench.clock.run()
    assert not mail
    (status,) = probe[0].results
    assert (status.code, status.text, status.relay) == ("4.3.0", "mail system is stopping", "none")
    assert bench.log.lines[-1].endswith("status=undeliverable (mail system is stopping)")
    assert bench.deliverer.busy == 1


@pytest.mark.parametrize("reply", [b"250 2.1.5 Fine\r\n", b"550 5.1.1 No\r\n"])
def test_the_connection_of_a_probe_ends_with_it(reply: bytes) -> None:
    bench = Bench(Script({"RCPT": reply}))
    for _ in range(2):
        bench.deliver(replace(job(trace="verify"), probe=True))
    assert [[line[:4] for line in remote.commands] for remote in bench.remotes] == [
        [b"EHLO", b"MAIL", b"RCPT", b"QUIT"]
    ] * 2
