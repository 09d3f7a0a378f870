"""Commands, and what main.cf may want instead of a mailbox: what is run for whom, and who else gets the mail."""

from pathlib import Path

import pytest
from tests.unit.deliver.local.test_deliverer import GROUP, ME, World, forward

from postwarden.deliver.local.ports import Account, NotPermitted
from postwarden.deliver.programs.ports import Program, Ran
from postwarden.ipc.records import Job
from postwarden.mail.envelope import Client, Notify, Recipient

CLIENT = Client("client.example", "192.0.2.1", helo="he`lo", protocol="ESMTP", login="ann$HOME")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def ran(world: World) -> list[Program]:
    return [program for program, _ in world.machine.programs.run_]


def test_a_command_of_roots_alias_runs_as_default_privs(world: World) -> None:
    assert world.one("command") == ("2.0.0", "delivered to command: /bin/cat -u")
    ((program, given),) = world.machine.programs.run_
    assert program.argv == ("/bin/cat", "-u")
    assert (program.uid, program.gid) == ((65534, 65534) if ME == 0 else (ME, GROUP))
    assert ME or "HOME" not in program.environment
    assert given.startswith(b"From s@x.example  ")
    assert given.endswith(
        b"Return-Path: <s@x.example>\nX-Original-To: command@mx.example.com\n"
        b"Delivered-To: command@mx.example.com\nFrom: a\nSubject: b\n\nhello\n"
    )


def test_a_command_of_a_forward_file_runs_as_the_user(world: World) -> None:
    forward(world, '"|/usr/bin/procmail -a x"\n')
    assert world.one("joe") == ("2.0.0", "delivered to command: /usr/bin/procmail -a x")
    (program,) = ran(world)
    assert program.environment["HOME"] == str(world.base / "joe")
    assert program.environment["USER"] == program.environment["LOGNAME"] == "joe"


def test_what_a_command_is_told_of_strangers_means_nothing_to_a_shell(tmp_path: Path) -> None:
    world = World(tmp_path, mailbox_command='exec run -a "$EXTENSION"')
    to = Recipient("Joe+Ne`ws@mx.example.com", "j$oe@mx.example.com")
    job = Job(7, "local", "x", "Q", 0, 0, "`s`@x.example", (to,), 0, b"A: b\r\n\r\n", b"", client=CLIENT)
    world.deliverer.deliver(job, b"", world.forwards.append)
    (program,) = ran(world)
    assert program.argv == ("sh", "-c", 'exec run -a "$EXTENSION"')
    told = dict(program.environment)
    assert told.pop("PATH") == "/usr/bin:/bin"
    assert told.pop("MAIL_CONFIG") == world.settings.config_directory
    assert told.pop("HOME") == str(world.base / "joe")
    assert told.pop("LANG") == "C"
    told.pop("TZ", None)
    assert told == {
        "LOGNAME": "joe",
        "USER": "joe",
        "LOCAL": "joe+ne_ws",
        "DOMAIN": "mx.example.com",
        "EXTENSION": "ne_ws",
        "RECIPIENT": "Joe+Ne_ws@mx.example.com",
        "ORIGINAL_RECIPIENT": "j_oe@mx.example.com",
        "SENDER": "_s_@x.example",
        "CLIENT_ADDRESS": "192.0.2.1",
        "CLIENT_HELO": "he_lo",
        "CLIENT_HOSTNAME": "client.example",
        "CLIENT_PROTOCOL": "ESMTP",
        "SASL_USERNAME": "ann_HOME",
    }


def test_the_null_sender_is_no_name(world: World) -> None:
    world.deliver("command", sender="")
    (program,) = ran(world)
    assert program.environment["SENDER"] == ""


def test_a_failure_is_the_recipients(world: World) -> None:
    world.machine.programs.ran = Ran(b"go away\n", exit=67)
    (status,) = world.deliver("command").results
    assert (status.code, status.text) == ("5.1.1", "user unknown. Command output: go away ")
    assert status.program_said == "go away "


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotPermitted("start it as root"), "4.3.5"),
        (BlockingIOError(11, "no process"), "4.3.0"),
        (EOFError("x"), "4.3.0"),
    ],
)
def test_what_can_not_be_run_waits(world: World, error: Exception, code: str) -> None:
    world.machine.programs.error = error
    assert world.one("command")[0] == code


def test_why_a_program_did_not_start_is_logged(world: World) -> None:
    world.machine.programs.ran = Ran(exit=75, trouble="execvp /no/such: No such file or directory")
    assert world.one("command") == ("4.3.0", "temporary failure")
    assert "error: execvp /no/such: No such file or directory" in world.machine.log


def test_lists_may_name_no_commands(world: World) -> None:
    (world.base / "list").write_text('"|/bin/cat"\n')
    assert world.one("list") == ("5.7.1", "mail to command is restricted")
    assert not ran(world)


def test_lists_may_name_commands_where_main_cf_lets_them(tmp_path: Path) -> None:
    world = World(tmp_path, allow_mail_to_commands="include")
    (world.base / "list").write_text('"|/bin/cat"\n')
    assert world.one("list")[0] == "2.0.0"
    assert world.one("command") == ("5.7.1", "mail to command is restricted")


def test_the_same_command_runs_once(tmp_path: Path) -> None:
    world = World(tmp_path, aliases='twice: |/bin/true, |/bin/true, "|/bin/true x"\n')
    world.one("twice")
    assert [program.argv for program in ran(world)] == [("/bin/true",), ("/bin/true", "x")]


def test_mailbox_command_runs_with_the_users_rights_and_limits(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        mailbox_command="/usr/bin/maildrop -d x",
        mailbox_size_limit="1000",
        message_size_limit="1000",
        command_time_limit="5s",
        command_execution_directory="$home/${extension?$extension}",
        export_environment="A=b LANG",
    )
    assert world.one("joe+x/y")[0] == "2.0.0"
    (program,) = ran(world)
    assert (program.file_size, program.limit) == (1000, 5.0)
    assert program.directory == f"{world.base}/joe/"
    assert program.environment["A"] == "b"
    assert "MAIL_CONFIG" not in program.environment


def test_a_shell_of_the_operators(tmp_path: Path) -> None:
    world = World(tmp_path, local_command_shell="/usr/bin/smrsh -c")
    world.one("command")
    assert ran(world)[0].argv == ("/usr/bin/smrsh", "-c", "/bin/cat -u")


def test_mailbox_command_maps_come_first(tmp_path: Path) -> None:
    world = World(tmp_path, mailbox_command="other", mailbox_command_maps="inline:{joe=mine}")
    assert world.one("joe+x") == ("2.0.0", "delivered to command: mine")
    assert world.one("ann") == ("2.0.0", "delivered to command: other")


def test_root_is_nobody(tmp_path: Path) -> None:
    world = World(tmp_path, mailbox_command="run")
    world.machine.accounts.add(Account("root", 0, 0, "/root"))
    world.one("root")
    assert ran(world)[0].uid == 65534


# Other transports


def whole(world: World) -> list[tuple[str, str]]:
    """What goes on by another transport as it is."""
    return [(f.transport, f.nexthop) for f in world.forwards if not f.recipients]


@pytest.mark.parametrize(
    ("parameters", "user", "wanted"),
    [
        ({"mailbox_transport": "lmtp:unix:private/dovecot"}, "joe", ("lmtp", "unix:private/dovecot")),
        ({"mailbox_transport": "cyrus"}, "nosuch", ("cyrus", "mx.example.com")),
        ({"fallback_transport": "smtp:[192.0.2.1]"}, "nosuch", ("smtp", "[192.0.2.1]")),
        ({"fallback_transport_maps": "inline:{nosuch=uucp:x}"}, "nosuch+e", ("uucp", "x")),
        ({"mailbox_transport_maps": "inline:{joe=a:b}", "mailbox_transport": "c:"}, "joe", ("a", "b")),
        ({"mailbox_transport_maps": "inline:{joe=a:b}", "mailbox_transport": "c:"}, "ann", ("c", "mx.example.com")),
    ],
)
def test_another_transport(tmp_path: Path, parameters: dict[str, str], user: str, wanted: tuple[str, str]) -> None:
    world = World(tmp_path, aliases="", **parameters)
    assert world.one(user)[0] == "2.0.0"
    assert whole(world) == [wanted]
    assert world.machine.log == [f"info: QID: passing <{user}@mx.example.com> to transport={wanted[0]}"]


def test_fallback_is_for_those_who_have_no_mailbox(tmp_path: Path) -> None:
    world = World(tmp_path, fallback_transport="smtp:x")
    assert world.one("joe") == ("2.0.0", "delivered to mailbox")
    assert not world.forwards


def test_what_an_alias_became_goes_on_as_a_message_of_its_own(tmp_path: Path) -> None:
    world = World(tmp_path, mailbox_transport="lmtp:h")
    (status,) = world.deliver(Recipient("both@mx.example.com", notify=int(Notify.FAILURE))).results
    assert status.code == "2.0.0"
    (forward,) = world.forwards
    assert (forward.transport, forward.nexthop, forward.sender) == ("lmtp", "h", "s@x.example")
    assert [(r.address, r.original, r.notify) for r in forward.recipients] == [
        ("joe@mx.example.com", "both@mx.example.com", int(Notify.FAILURE)),
        ("ann@mx.example.com", "both@mx.example.com", int(Notify.FAILURE)),
    ]


def test_a_transport_that_leads_back_is_no_way(tmp_path: Path) -> None:
    world = World(tmp_path, mailbox_transport="local:x")
    assert world.one("joe") == ("4.3.5", "mail system configuration error")


def test_a_table_that_can_not_answer(tmp_path: Path) -> None:
    world = World(tmp_path, mailbox_transport_maps="fail:x")
    assert world.one("joe")[0] == "4.3.0"
    assert not world.forwards


def test_a_home_that_is_required(tmp_path: Path) -> None:
    world = World(tmp_path, require_home_directory="yes")
    assert world.one("joe") == ("4.3.0", f"cannot access home directory {tmp_path}/joe: No such file or directory")
    (tmp_path / "joe").mkdir()
    assert world.one("joe") == ("2.0.0", "delivered to mailbox")


def test_several_tables_of_several_kinds(tmp_path: Path) -> None:
    (tmp_path / "more").write_text("second ann\njoe nosuch\n")
    (tmp_path / "patterns").write_text("/^third$/ ann\n")
    maps = f"inline:{{ {{ joe = ann }} }}, texthash:{tmp_path}/more, regexp:{tmp_path}/patterns"
    world = World(tmp_path, alias_maps=maps)
    for name in ("joe", "second", "third"):
        assert world.one(name)[0] == "2.0.0"
    assert (world.box("ann"), world.box("joe")) == (3, 0)


# luser_relay


def test_a_catch_all_elsewhere(tmp_path: Path) -> None:
    world = World(tmp_path, luser_relay="$user@other.example")
    assert world.one("nosuch+x")[0] == "2.0.0"
    assert world.forwarded == [("s@x.example", ["nosuch@other.example"])]


def test_a_catch_all_here(tmp_path: Path) -> None:
    world = World(tmp_path, luser_relay="joe+$local")
    assert world.one("nosuch") == ("2.0.0", "delivered to mailbox")
    assert world.box("joe") == 1


@pytest.mark.parametrize("user", ["nosuch", "nobodyhome"])
def test_a_catch_all_that_does_not_exist_catches_nothing(tmp_path: Path, user: str) -> None:
    world = World(tmp_path, luser_relay="nobodyhome")
    assert world.one(user) == ("5.1.1", 'unknown user: "nobodyhome"')


def test_a_catch_all_with_a_mistake(tmp_path: Path) -> None:
    world = World(tmp_path, luser_relay="${user")
    assert world.one("nosuch") == ("4.3.5", "mail system configuration error")


def test_a_catch_all_that_is_empty_for_an_address(tmp_path: Path) -> None:
    world = World(tmp_path, luser_relay="$extension")
    assert world.one("nosuch") == ("5.1.1", 'unknown user: "nosuch"')
    assert world.one("nosuch+joe") == ("2.0.0", "delivered to mailbox")


def test_whoever_was_caught_twice_gets_it_once(tmp_path: Path) -> None:
    world = World(tmp_path, aliases="team: joe, nosuch1, nosuch2\n", luser_relay="joe")
    assert world.one("team")[0] == "2.0.0"
    assert world.box("joe") == 1


def test_the_number_of_remembered_duplicates(tmp_path: Path) -> None:
    world = World(tmp_path, aliases="a: |x, |y, |x, |y\n", duplicate_filter_limit="2")
    world.one("a")
    assert [program.argv for program in ran(world)] == [("x",), ("y",), ("y",)]


def test_lists_that_name_each_other_twice_end_whatever_is_remembered(tmp_path: Path) -> None:
    lists = [tmp_path / f"list{n}" for n in range(40)]
    for here, following in zip(lists, [*lists[1:], tmp_path / "last"], strict=True):
        here.write_text(f"x{here.name}@elsewhere.example\n:include:{following}\n:include:{following}\n")
    (tmp_path / "last").write_text("joe\n")
    world = World(tmp_path, aliases=f"a: :include:{lists[0]}\n", duplicate_filter_limit="10")
    assert world.one("a")[0] == "2.0.0"
    assert len(world.forwards[0].recipients) == 41
