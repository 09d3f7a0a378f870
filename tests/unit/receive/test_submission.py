"""What comes over the socket of local users, in memory: real users' lists, real content, a store in memory."""

import os
from pathlib import Path

import pytest

from postwarden import pipeline
from postwarden.mail.envelope import Notify, Recipient
from postwarden.mail.reply import Reply
from postwarden.net.log import MailLog, MemorySink
from postwarden.net.names import Names
from postwarden.receive.counters import Counters
from postwarden.receive.submission import Submitting
from postwarden.tables.remote.waiting import Waiting
from postwarden.testing.asking import AskingOnDemand, wrap_all
from postwarden.testing.clock import VirtualClock
from postwarden.testing.config import settings
from postwarden.testing.reception import HandWaiting, without_process
from postwarden.testing.remote import MemoryDial
from postwarden.testing.resolver import FakeResolver
from postwarden.testing.spool import MemoryStore
from postwarden.testing.stream import Recorder, connect
from postwarden.wire.submission import (
    ACCEPTED,
    GREETING,
    LATER,
    MAGIC,
    REFUSED,
    Answer,
    Line,
    Submission,
    frame,
    log_lines,
    opening,
    parse_answer,
    whole,
)

LOGINS = {0: "root", 1000: "joe", 1001: "jane"}
TRUSTED = 8
TO = (Recipient("you@example.com"),)
MAIL = [b"Subject: x\n\nbody\n"]


class Door:
    """Who connects says all at once and hears the answer."""

    def __init__(self, main_cf: str = "", master_cf: str = "smtp inet n - n - - smtpd\n", **parameters: str) -> None:
        self.clock = VirtualClock()
        self.relayed: list[tuple[str, str]] = []
        self._sink = MemorySink()
        self.store = MemoryStore(self.clock.call_soon)
        names = FakeResolver("", self.clock)
        around = pipeline.Surroundings(
            self.clock,
            MailLog(self._sink, "postfix"),
            Names(names, names),
            MemoryDial(self.clock, {}),
            AskingOnDemand(self.clock),
        )
        self.reception = pipeline.receiver(
            settings(main_cf, master_cf, **{"myhostname": "mx.example.com", "myorigin": "example.com"} | parameters),
            around,
            self.store,
            keys=(),
            waiting=HandWaiting(self.clock),
            counters=Counters(Counters.create().fileno(), 0),
            files={},
            users=pipeline.LocalUsers(
                lambda uid: LOGINS.get(uid, ""),
                TRUSTED,
                Counters(Counters.create().fileno(), 0, 3600),
                lambda level, text: self.relayed.append((level, text)),
            ),
        )

    @property
    def log(self) -> list[str]:
        return [without_process(line) for line in self._sink.lines]

    def connect(self, uid: int = 1000, *, chunk: int = 0) -> "Caller":
        return Caller(self, uid, chunk)

    def submit(self, submission: Submission, content: list[bytes] | None = None, uid: int = 1000) -> Answer:
        caller = self.connect(uid)
        caller.say(b"".join(whole(submission, MAIL if content is None else content)))
        return caller.answer()


class Caller:
    def __init__(self, door: Door, uid: int, chunk: int) -> None:
        self._clock = door.clock
        self.recorder = Recorder()
        self.session = Submitting(door.reception.submit, uid)
        self.stream, self.server = connect(self.recorder, self.session, door.clock, chunk=chunk)
        door.clock.run()

    def say(self, data: bytes) -> None:
        self.stream.write(data)
        self._clock.run()

    def answer(self) -> Answer:
        said = self.recorder.take()
        assert said.startswith(GREETING)
        found = parse_answer(said[len(GREETING) :])
        assert found is not None
        return found


@pytest.mark.parametrize("chunk", [0, 1])
def test_a_message_is_stored_as_pickup_would_have_it(chunk: int) -> None:
    door = Door()
    caller = door.connect(chunk=chunk)
    caller.say(b"".join(whole(Submission("joe", (Recipient("you"),), full_name="Joe Doe"), MAIL)))
    assert caller.answer() == Answer("accepted", "", "0000000001")
    ((envelope, head, body),) = door.store.messages
    assert envelope.sender == "joe@example.com"
    assert [recipient.address for recipient in envelope.recipients] == ["you@example.com"]
    assert (envelope.user, envelope.context, envelope.full_name) == ("1000", "local", "Joe Doe")
    assert envelope.client is None
    lines = head.decode().split("\r\n")
    assert lines[0] == "Received: by mx.example.com (Postfix, from userid 1000)"
    assert lines[1].startswith("\tid 0000000001; ")
    assert "From: Joe Doe <joe@example.com>" in lines
    assert body == b"body\r\n"
    assert envelope.size == len(head) + len(body)
    assert door.log[0] == "pickup: 0000000001: uid=1000 from=<joe>"


def test_what_is_said_of_the_message_goes_with_it() -> None:
    door = Door()
    recipient = Recipient("you@example.com", notify=int(Notify.SUCCESS))
    door.submit(Submission("joe", (recipient,), "", True, True, "HDRS", "abc", "+=", "record"))
    envelope = door.store.messages[0][0]
    assert (envelope.ret, envelope.envid, envelope.verp, envelope.trace) == ("HDRS", "abc", "+=", "record")
    assert envelope.eight_bit
    assert envelope.context == "remote"
    assert envelope.recipients[0].notify == Notify.SUCCESS


def test_a_relayed_message_keeps_its_headers() -> None:
    door = Door()
    door.submit(Submission("joe", TO, remote=True), [b"To: you\n\nx\n"])
    head = door.store.messages[0][1]
    assert head.endswith(b"\r\nTo: you\r\n\r\n")
    assert b"Message-Id" not in head


@pytest.mark.parametrize(
    ("content", "tail"),
    [
        ([b"a: b\n\nx\r", b"\ny\rz\n"], b"\r\n\r\nx\r\ny z\r\n"),
        ([b"a: b\n\nno end"], b"\r\n\r\nno end\r\n"),
        ([b"a: b\n\n.\n..\n"], b"\r\n\r\n.\r\n..\r\n"),
        ([b"no header\n"], b"\r\n\r\nno header\r\n"),
    ],
)
def test_line_ends_are_those_of_smtp(content: list[bytes], tail: bytes) -> None:
    door = Door()
    door.submit(Submission("joe", TO), content)
    _, head, body = door.store.messages[0]
    assert (head + body).endswith(tail)


@pytest.mark.parametrize(
    ("head", "utf8"), [("Subject: ä", True), ("Subject: x", False), (b"Subject: \xe4".decode("latin-1"), True)]
)
def test_utf8_in_a_header_is_found(head: str, utf8: bool) -> None:
    door = Door(smtputf8_enable="yes")
    door.submit(Submission("joe", TO), [f"{head}\n\n".encode()])
    assert door.store.messages[0][0].smtputf8 is utf8
    door = Door(smtputf8_enable="yes", smtputf8_autodetect_classes="verify")
    door.submit(Submission("joe", TO), [f"{head}\n\n".encode()])
    assert door.store.messages[0][0].smtputf8 is False


def test_the_profile_is_that_of_the_pickup_service() -> None:
    master_cf = (
        "pickup unix n - n 60 1 pickup\n  -o cleanup_service_name=quiet\n"
        "quiet unix n - n - 0 cleanup\n  -o always_bcc=archive@example.com\n"
    )
    door = Door(master_cf=master_cf)
    door.submit(Submission("joe", TO))
    assert [one.address for one in door.store.messages[0][0].recipients] == ["you@example.com", "archive@example.com"]


def test_who_may_not_submit_is_told_before_content_is_taken() -> None:
    door = Door(authorized_submit_users="!jane, static:all")
    caller = door.connect(1001)
    caller.say(MAGIC)
    caller.say(next(iter(whole(Submission("jane", TO), [])))[len(MAGIC) :])
    assert caller.answer() == Answer("denied", "User jane(1001) is not allowed to submit mail")
    assert door.submit(Submission("joe", TO)).verdict == "accepted"
    assert door.submit(Submission("x", TO), uid=4711).verdict == "accepted"
    nobody = Door(authorized_submit_users="")
    assert nobody.submit(Submission("root", TO), uid=0).text == "User root(0) is not allowed to submit mail"
    assert not nobody.store.messages


def test_a_list_of_users_that_can_not_be_read_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("joe x\n")
    door = Door(authorized_submit_users=f"texthash:{tmp_path}/users")
    assert door.submit(Submission("joe", TO)).verdict == "accepted"
    assert door.submit(Submission("jane", TO), uid=1001).verdict == "denied"


@pytest.mark.parametrize(
    ("sender", "allowed"),
    [("joe", True), ("joe+x@example.org", True), ("JOE@example.org", True), ("a@shop.example", True), ("", True),
     ("jane", False), ("x@example.org", False), ("a@x.shop.example", False)],
)  # fmt: skip
def test_in_whose_name_a_user_may_send(sender: str, allowed: bool) -> None:
    maps = "inline:{{root=*} {joe=joe, joe@example.org @shop.example <>} {uid:4711=x}}"
    door = Door(local_login_sender_maps=maps, recipient_delimiter="+")
    said = door.submit(Submission(sender, TO))
    assert said.verdict == ("accepted" if allowed else "refused")
    if not allowed:
        assert said.text == f"not authorized to use sender='{sender}'"
    assert door.submit(Submission(sender, TO), uid=0).verdict == "accepted"
    assert door.submit(Submission(sender, TO), uid=1001).verdict == "refused"
    assert door.submit(Submission("x", TO), uid=4711).verdict == "accepted"


def test_nobody_speaks_for_another_but_the_mail_system() -> None:
    door = Door()
    theirs = Submission("jane", TO, user=1001, written=door.clock.now() - 100)
    assert door.submit(theirs, uid=1000) == Answer("refused", "malformed input")
    assert not door.store.messages
    for peer in (0, TRUSTED):
        assert door.submit(theirs, uid=peer).verdict == "accepted"
    assert [message[0].user for message in door.store.messages] == ["1001", "1001"]
    assert door.store.messages[0][0].arrival == door.clock.now() - 100


@pytest.mark.parametrize("written", [-1e300, 1e300, 1.0])
def test_the_time_of_a_file_is_believed_within_reason(written: float) -> None:
    door = Door()
    assert door.submit(Submission("joe", TO, user=1000, written=written), uid=TRUSTED).verdict == "accepted"
    arrival = door.store.messages[0][0].arrival
    assert 0 <= door.clock.now() - arrival <= 31 * 86400


def test_a_quota_for_each_user() -> None:
    door = Door(postwarden_submit_limit="2")
    assert [door.submit(Submission("joe", TO)).verdict for _ in range(4)] == ["accepted"] * 2 + ["later"] * 2
    assert door.submit(Submission("joe", TO)).text.startswith("uid 1000 has sent 2 messages in this hour")
    assert door.submit(Submission("jane", TO), uid=1001).verdict == "accepted"
    assert [door.submit(Submission("root", TO), uid=0).verdict for _ in range(3)] == ["accepted"] * 3
    assert len([line for line in door.log if "postwarden_submit_limit" in line]) == 1
    door.clock.advance(3600)
    assert door.submit(Submission("joe", TO)).verdict == "accepted"


def test_a_message_that_is_too_big_is_refused_while_it_comes() -> None:
    door = Door(message_size_limit="1000")
    caller = door.connect()
    data = b"".join(whole(Submission("joe", TO), [b"a: b\n\n", b"x" * 2000]))
    caller.say(data[:-17])
    assert caller.answer() == Answer("refused", "message file too big")
    assert door.store.abandoned == 1


def test_no_recipients_no_message() -> None:
    assert Door().submit(Submission("joe", ())) == Answer("refused", "no recipients")


def test_nothing_is_accepted_that_is_not_durable() -> None:
    door = Door()
    door.store.fault = Reply(451, "4.3.0", "Error: queue file write error")
    assert door.submit(Submission("joe", TO)) == Answer("later", "queue file write error")
    door.store.fault, door.store.full = None, Reply(452, "4.3.1", "Insufficient system storage")
    assert door.submit(Submission("joe", TO)) == Answer("later", "Insufficient system storage")


def test_what_content_refuses_is_refused_for_good_and_what_it_can_not_do_now_for_now() -> None:
    door = Door()
    hops = b"".join(b"Received: x\n" for _ in range(60))
    assert door.submit(Submission("joe", TO), [hops + b"\n"]).verdict == "refused"
    door = Door(virtual_alias_maps="inline:{you@example.com=a@example.com}", virtual_alias_recursion_limit="1",
                virtual_alias_expansion_limit="1")  # fmt: skip
    loops = "inline:{{you@example.com=a@example.com} {a@example.com=b@example.com} {b@example.com=c@example.com}}"
    door = Door(virtual_alias_maps=loops, virtual_alias_recursion_limit="1")
    assert door.submit(Submission("joe", TO)).verdict == "later"


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.0\r\n\r\n", MAGIC + frame(b"D", b"x"), MAGIC + frame(b"E", b""),
     opening(Submission("joe", TO)) + frame(b"D", b"")],
)  # fmt: skip
def test_nonsense_is_told_so_and_costs_nothing(data: bytes) -> None:
    door = Door()
    caller = door.connect()
    caller.say(data)
    assert caller.answer() == Answer("refused", "malformed input")
    assert not door.reception.submit.sessions
    assert door.log[-1].startswith("pickup: warning: uid=1000: malformed input: ")


def test_nonsense_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postwarden.receive.submit_service._LINES", 3)
    door = Door()
    for _ in range(9):
        door.connect().say(b"nonsense" * 9)
    assert len(door.log) == 4
    assert door.log[-1] == "pickup: warning: uid=1000: more than 3 log lines in an hour: the others are dropped"


def test_half_a_message_is_none() -> None:
    door = Door()
    data = b"".join(whole(Submission("joe", TO), MAIL))
    caller = door.connect()
    caller.say(data[:-3])
    caller.stream.close()
    door.clock.run()
    assert not door.store.messages
    assert door.store.abandoned == 1
    assert not door.reception.submit.sessions
    assert caller.server.gone


def test_who_says_nothing_is_sent_away() -> None:
    door = Door()
    caller = door.connect()
    door.clock.advance(61)
    assert not door.reception.submit.sessions
    assert caller.recorder.has_ended or caller.recorder.is_closed


def test_one_user_can_not_hold_all_places() -> None:
    door = Door()
    callers = [door.connect() for _ in range(22)]
    greeted = [bool(caller.recorder.take()) for caller in callers]
    assert greeted == [True] * 20 + [False] * 2
    assert door.submit(Submission("jane", TO), uid=1001).verdict == "accepted"
    callers[20].stream.close()
    callers[3].stream.close()
    door.clock.run()
    assert callers[21].recorder.take() == GREETING
    callers[21].say(b"".join(whole(Submission("joe", TO), MAIL)))
    assert parse_answer(callers[21].recorder.take()) == Answer("accepted", "", "0000000002")
    for caller in callers:
        caller.stream.close()
    door.clock.run()
    assert not door.reception.submit.sessions


def test_who_waits_for_a_place_may_say_nothing() -> None:
    door = Door()
    callers = [door.connect() for _ in range(21)]
    callers[20].say(b"".join(whole(Submission("joe", TO), MAIL)))
    assert not door.store.messages
    assert parse_answer(callers[20].recorder.take()) == Answer("refused", "malformed input")
    assert len(door.reception.submit.sessions) == 20
    callers[0].stream.close()
    door.clock.run()
    assert len(door.reception.submit.sessions) == 19


def test_one_user_can_not_take_all_the_room_to_wait() -> None:
    door = Door()
    callers = [door.connect() for _ in range(221)]
    assert not callers[-2].recorder.has_ended
    assert callers[-1].recorder.has_ended or callers[-1].recorder.is_closed
    others = [door.connect(1001) for _ in range(21)]
    assert not others[-1].recorder.has_ended


def test_who_can_not_even_wait_is_turned_away() -> None:
    door = Door()
    callers = [door.connect(1000 + n // 100) for n in range(1081)]
    assert callers[-1].recorder.has_ended or callers[-1].recorder.is_closed
    assert callers[-1].recorder.take() == b""
    assert not callers[-2].recorder.has_ended


def test_a_bug_is_told_to_the_log_and_not_to_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door()

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(door.reception.submit, "prepare", broken)
    assert door.submit(Submission("joe", TO)) == Answer("later", "internal error")
    assert "ZeroDivisionError" in door.log[-1]
    assert not door.reception.submit.sessions


def test_the_lists_are_looked_at_again(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("joe\n")
    door = Door(authorized_submit_users=str(users))
    assert door.submit(Submission("jane", TO), uid=1001).verdict == "denied"
    users.write_text("joe\njane\n")
    os.utime(users, (1, 1))
    assert door.reception.refresh() == []
    assert door.submit(Submission("jane", TO), uid=1001).verdict == "accepted"


def test_what_a_users_command_has_to_say_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postwarden.receive.submit_service._LINES", 3)
    door = Door()
    said = [Line("fatal", "postfix/sendmail[5]: fatal: a\nb"), Line("info", "postfix/postlog[5]: x")]
    caller = door.connect()
    caller.say(log_lines(said))
    caller.stream.close()
    door.clock.run()
    assert door.relayed == [("fatal", "postfix/sendmail[5]: fatal: a?b"), ("info", "postfix/postlog[5]: x")]
    assert not door.reception.submit.sessions
    assert caller.server.gone
    for uid, count in ((1000, 3), (0, 5)):
        door.connect(uid).say(log_lines(said))
        assert len(door.relayed) == count
    assert door.log == ["pickup: warning: uid=1000: more than 3 log lines in an hour: the others are dropped"]


def test_local_mail_that_a_milter_would_have_to_see() -> None:
    door = Door(non_smtpd_milters="inet:127.0.0.1:1")
    assert door.submit(Submission("joe", TO)).verdict == LATER
    door = Door(non_smtpd_milters="inet:127.0.0.1:1", milter_default_action="reject")
    assert door.submit(Submission("joe", TO)).verdict == REFUSED
    door = Door(non_smtpd_milters="inet:127.0.0.1:1", milter_default_action="accept")
    assert door.submit(Submission("joe", TO)).verdict == ACCEPTED


@pytest.mark.parametrize("chunk", [0, 1])
@pytest.mark.parametrize(
    ("users", "senders", "answer"),
    [
        ("inline:{joe=x}", "inline:{joe=joe}", Answer("accepted", "", "0000000001")),
        ("inline:{jane=x}", "static:*", Answer("denied", "User joe(1000) is not allowed to submit mail")),
        ("static:anyone", "inline:{joe=jane}", Answer("refused", "not authorized to use sender='joe'")),
        ("fail:x", "static:*", Answer("later", "user lookup error")),
    ],
)
def test_who_may_submit_can_be_waited_for(
    chunk: int, users: str, senders: str, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Waiting, "wrap", wrap_all)  # the names of users among them
    door = Door(authorized_submit_users=users, local_login_sender_maps=senders)
    caller = door.connect(chunk=chunk)
    caller.say(b"".join(whole(Submission("joe", TO), MAIL)))
    assert caller.answer() == answer
    assert bool(door.store.messages) is (answer.verdict == "accepted")
