"""Whole deliveries by pipe, with a program that is only played."""

import os
from pathlib import Path

import pytest

from postwarden.config.settings import load
from postwarden.deliver.body import Body, FileBody
from postwarden.deliver.local.ports import Account, NotPermitted
from postwarden.deliver.pipe.deliverer import PipeDeliverer, pipe_deliverer, problem
from postwarden.deliver.programs.ports import Program, Ran
from postwarden.ipc.records import Job
from postwarden.mail.envelope import Recipient
from postwarden.mail.status import Status
from postwarden.testing.local import LocalMachine

HEAD = b"Delivered-To: loop@x\r\nSubject: x\r\n\r\n"
BODY = b"From me\r\n.dot\r\nend"


class World:
    def __init__(self, base: Path, entry: str, **parameters: str) -> None:
        main = "".join(f"{name} = {value}\n" for name, value in parameters.items())
        (base / "main.cf").write_text(f"compatibility_level = 3.6\nmyhostname = mx.example.com\n{main}")
        (base / "master.cf").write_text(f"p unix - n n - - pipe\n  {entry}\n")
        self.settings = load(base)
        self.machine = LocalMachine(
            Account("vmail", 500, 501, "/"), Account("root", 0, 0, "/"), Account("postfix", 600, 600, "/")
        )
        self.machine.accounts.add(Account("mail", 8, 8, "/"))
        self.trace = ""

    @property
    def deliverer(self) -> PipeDeliverer:
        service = self.settings.find_service("p/unix")
        assert service is not None
        return pipe_deliverer(self.settings, service, self.machine.surroundings)

    def deliver(self, *recipients: str, sender: str = "s@x.example", body: Body = BODY) -> list[Status]:
        to = tuple(Recipient(address) for address in recipients or ("u@x",))
        now = self.machine.time
        job = Job(
            1, "p", "nexthop", "Q", now, now, sender, to, 1000, HEAD, None, trace=self.trace
        )  # fmt: skip
        return list(self.deliverer.deliver(job, body, lambda forward: None).results)

    @property
    def ran(self) -> tuple[Program, bytes]:
        (both,) = self.machine.programs.run_
        return both


def texts(statuses: list[Status]) -> list[tuple[str, str]]:
    return [(status.code, status.text) for status in statuses]


def test_a_delivery_for_all_its_recipients(tmp_path: Path) -> None:
    world = World(tmp_path, "user=vmail argv=/bin/cat $recipient", p_time_limit="7s")
    (one, two) = world.deliver("u@x", "v@x")
    assert one == two == Status("2.0.0", "delivered via p service", "p", report="relayed")
    program, given = world.ran
    assert program.argv == ("/bin/cat", "u@x", "v@x")
    assert (program.uid, program.gid, program.limit) == (500, 501, 7.0)
    assert (program.directory, program.chroot, program.file_size) == ("", "", 0)
    assert given == b"Delivered-To: loop@x\nSubject: x\n\nFrom me\n.dot\nend\n"
    assert [line.split(", delay")[0] for line in world.machine.log] == [
        "info: Q: to=<u@x>, relay=p",
        "info: Q: to=<v@x>, relay=p",
    ]


def test_what_flags_add(tmp_path: Path) -> None:
    world = World(
        tmp_path, "flags=BDFORX.> eol=\\r\\n user=vmail:mail argv=/bin/cat", p_destination_recipient_limit="1"
    )
    assert world.deliver()[0].report == ""
    program, given = world.ran
    assert program.gid == 8
    lines = given.split(b"\r\n")
    assert lines[0].startswith(b"From s@x.example  ")
    assert lines[1:] == [
        b"Return-Path: <s@x.example>", b"X-Original-To: u@x", b"Delivered-To: u@x", b"Delivered-To: loop@x",
        b"Subject: x", b"", b">From me", b"..dot", b"end", b"", b"",
    ]  # fmt: skip
    assert b"\n" not in given.replace(b"\r\n", b"")


def test_a_large_body_is_the_same(tmp_path: Path) -> None:
    world = World(tmp_path, "flags=B.> eol=\\r\\n user=vmail argv=/bin/cat")
    body = b".a\r\nFrom b\r\n" * 50_000
    world.deliver(body=body)
    path = tmp_path / "body"
    path.write_bytes(body)
    large_body = FileBody(os.open(path, os.O_RDONLY), 0, len(body))
    world.deliver(body=large_body)
    large_body.close()
    (_, small), (_, large) = world.machine.programs.run_
    assert small == large
    assert small.count(b"\r\n..a\r\n>From b") == 50_000


def test_the_null_sender(tmp_path: Path) -> None:
    world = World(tmp_path, "flags=FR user=vmail argv=/bin/cat $sender")
    world.deliver(sender="")
    program, given = world.ran
    assert program.argv[1] == "MAILER-DAEMON"
    assert given.startswith(b"From MAILER-DAEMON  ")
    assert b"\nReturn-Path: <MAILER-DAEMON>\n" in given


def test_an_empty_null_sender(tmp_path: Path) -> None:
    world = World(tmp_path, "flags=FR null_sender= user=vmail argv=/bin/cat -f $sender --")
    world.deliver(sender="")
    program, given = world.ran
    assert program.argv == ("/bin/cat", "-f", "", "--")
    assert given.startswith(b"From MAILER-DAEMON  ")
    assert b"\nReturn-Path: <>\n" in given


def test_who_had_it_before_does_not_get_it_again(tmp_path: Path) -> None:
    world = World(tmp_path, "flags=DRXhu user=vmail argv=/bin/cat $recipient")
    assert texts(world.deliver("LOOP@x")) == [("5.4.6", "mail forwarding loop for LOOP@x")]
    assert not world.machine.programs.run_
    assert texts(world.deliver("u@x")) == [("2.0.0", "delivered via p service")]


def test_what_a_program_says_of_success(tmp_path: Path) -> None:
    world = World(tmp_path, "user=vmail argv=/bin/cat")
    world.machine.programs.ran = Ran(b"5.1.1 queued as 17\n" + b"x" * 200)
    (status,) = world.deliver()
    assert status.code == "2.0.0"
    assert status.text == f"delivered via p service (5.1.1 queued as 17 {'x' * 81})"


def test_a_failure_is_all_recipients(tmp_path: Path) -> None:
    world = World(tmp_path, "user=vmail argv=/bin/sh -c {exit 1}")
    world.machine.programs.ran = Ran(exit=1)
    assert texts(world.deliver("u@x", "v@x")) == [("5.3.0", 'Command died with status 1: "/bin/sh"')] * 2
    assert world.ran[0].argv == ("/bin/sh", "-c", "exit 1")


def test_soft_bounce(tmp_path: Path) -> None:
    world = World(tmp_path, "user=vmail argv=/bin/cat", soft_bounce="yes")
    world.machine.programs.ran = Ran(exit=67)
    assert texts(world.deliver()) == [("4.1.1", "user unknown")]


def test_the_size_limit(tmp_path: Path) -> None:
    assert texts(World(tmp_path, "size=999 user=vmail argv=/x").deliver()) == [("5.2.3", "message too large")]
    assert World(tmp_path, "size=1000 user=vmail argv=/x").deliver()[0].code == "2.0.0"


def test_verification_runs_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, "user=vmail argv=/bin/cat")
    world.trace = "verify"
    (status,) = world.deliver()
    assert (status.code, status.text) == ("2.0.0", "delivers to command: /bin/cat")
    assert not world.machine.programs.run_


@pytest.mark.parametrize(
    ("entry", "code", "said"),
    [
        ("argv=/bin/true", "4.3.0", "missing user="),
        ("user=vmail", "4.3.0", "missing argv="),
        ("flags=Z user=vmail argv=x", "4.3.0", "unknown flag: Z"),
        ("flags=RDO user=vmail argv=x", "4.3.5", "flag D requires p_destination_recipient_limit = 1"),
        ("user=nosuch argv=x", "4.3.0", "unknown username: nosuch"),
        ("user=vmail:nosuch argv=x", "4.3.0", "unknown group: nosuch"),
        ("user=root argv=x", "4.3.0", "root privileges"),
        ("user=vmail:root argv=x", "4.3.0", "root privileges"),
        ("user=postfix argv=x", "4.3.0", "mail system owner"),
        ("user=vmail:postfix argv=x", "4.3.0", "mail system owner"),
        ("user=vmail argv=x $nosuch", "4.3.5", 'unknown macro name: "nosuch"'),
    ],
)
def test_mistakes_stop_this_transport_alone(tmp_path: Path, entry: str, code: str, said: str) -> None:
    world = World(tmp_path, entry)
    statuses = world.deliver("u@x", "v@x")
    assert {status.code for status in statuses} == {code}
    if code == "4.3.0":
        assert all(one.origin.startswith(f"{tmp_path}/master.cf:1: ") and said in one.origin for one in statuses)
    assert not world.machine.programs.run_
    assert f"{tmp_path}/master.cf:1: " in world.machine.log[0]
    assert said in world.machine.log[0]


def test_problems_are_found_before_there_is_mail(tmp_path: Path) -> None:
    world = World(tmp_path, "user=vmail argv=x $nosuch")
    (service,) = world.settings.services
    assert problem(world.settings, service) == 'unknown macro name: "nosuch"'
    world = World(tmp_path, "user=vmail argv=x")
    assert problem(world.settings, world.settings.services[0]) == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [(NotPermitted("be root"), "4.3.5"), (BlockingIOError(11, "no process"), "4.3.0"), (EOFError("short"), "4.3.0")],
)
def test_what_can_not_be_run_waits(tmp_path: Path, error: Exception, code: str) -> None:
    world = World(tmp_path, "user=vmail argv=x")
    world.machine.programs.error = error
    assert world.deliver()[0].code == code


def test_a_password_file_that_can_not_answer(tmp_path: Path) -> None:
    world = World(tmp_path, "user=vmail argv=x")
    world.machine.accounts.broken.add("vmail")
    assert world.deliver()[0].code == "4.3.0"
