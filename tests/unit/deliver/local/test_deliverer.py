"""Whole deliveries: what a job becomes, with real files and made-up users."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from postwarden.addressing.resolve import open_resolver
from postwarden.config.errors import ConfigError
from postwarden.config.view import view
from postwarden.deliver.local.deliverer import LocalDeliverer, local_deliverer
from postwarden.deliver.local.params import LocalParams
from postwarden.deliver.local.ports import Account
from postwarden.deliver.local.tables import open_tables
from postwarden.ipc.records import Forward, Job, Outcome
from postwarden.mail.envelope import Notify, Recipient
from postwarden.mail.status import Part, Status
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings
from postwarden.testing.local import LocalMachine

ME, GROUP = os.geteuid(), os.getegid()
HEAD = b"From: a\r\nSubject: b\r\n\r\n"
ALIASES = """\
both: joe, ann
mix: joe, nosuch
away: x@elsewhere.example
away-and-joe: joe, x@elsewhere.example, y@elsewhere.example
ann: ann
self: self
one: two
two: one
deep: deep1
backslash: \\joe
joe+list: ann
owned: joe, x@elsewhere.example
owner-owned: ann
command: "|/bin/cat -u"
empty: ""
file: {dir}/file
maildir: {dir}/maildir/
execute: {dir}/program
list: :include:{dir}/list
badlist: :include:{dir}/worldly
nolist: :include:{dir}/none
relative: :include:list
listed-file: :include:{dir}/filelist
file-and-away: {dir}/program, x@elsewhere.example
"""


class World:
    """One machine with joe and ann, an alias file in `base`, mailboxes in `base/mail`."""

    def __init__(self, base: Path, aliases: str = ALIASES, **parameters: str) -> None:
        self.base = base
        self.mail = base / "mail"
        self.mail.mkdir()
        self.mail.chmod(0o1777)
        (base / "aliases").write_text(aliases.replace("{dir}", str(base)))
        (base / "list").write_text("joe, x@elsewhere.example\n# none\nann\n")
        (base / "worldly").write_text("joe\n")
        (base / "worldly").chmod(0o666)
        (base / "filelist").write_text(f"{base}/file\n")
        (base / "program").write_text("#!/bin/sh\n")
        (base / "program").chmod(0o755)
        users = [Account(name, ME, GROUP, str(base / name)) for name in ("joe", "ann")]
        self.machine = LocalMachine(
            *users,
            Account("nobody", 65534, 65534, "/"),
            Account("root", 0, 0, "/root"),
            Account("postfix", 600, 600, "/"),
        )
        given = {
            "alias_maps": f"hash:{base}/aliases",
            "mail_spool_directory": str(self.mail),
            "recipient_delimiter": "+",
            "deliver_lock_attempts": "1",
        }
        self.settings = settings(**(given | parameters))
        self.forwards: list[Forward] = []
        self.trace = ""
        self.probe = False
        self.deliverer = self.build()

    def build(self) -> LocalDeliverer:
        tables = Tables.of(self.settings)
        params = view(LocalParams, self.settings, "local/unix")
        opened = open_tables(self.settings, "local/unix", params, tables)
        resolver = open_resolver(self.settings, tables)
        return local_deliverer(self.settings, "local/unix", params, self.machine.surroundings, opened, resolver)

    def deliver(self, *recipients: str | Recipient, sender: str = "s@x.example", head: bytes = HEAD) -> Outcome:
        to = tuple(r if isinstance(r, Recipient) else Recipient(f"{r}@mx.example.com") for r in recipients)
        now = self.machine.time
        job = Job(
            7,
            "local",
            "mx.example.com",
            "QID",
            now - 3,
            now - 1,
            sender,
            to,
            0,
            head,
            b"hello\r\n",
            trace=self.trace,
            probe=self.probe,
        )
        return self.deliverer.deliver(job, b"hello\r\n", self.forwards.append)

    def one(self, recipient: str) -> tuple[str, str]:
        """Code and text of what became of one recipient."""
        (status,) = self.deliver(recipient).results
        return status.code, status.text

    def box(self, name: str) -> int:
        """How many messages are in a mailbox."""
        path = self.mail / name
        return path.read_bytes().count(b"\nhello\n") if path.exists() else 0

    @property
    def forwarded(self) -> list[tuple[str, list[str]]]:
        return [(f.sender, [r.address for r in f.recipients]) for f in self.forwards]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_user(world: World) -> None:
    outcome = world.deliver(Recipient("Joe@mx.example.com", "joseph@mx.example.com"))
    assert outcome.results == (Status("2.0.0", "delivered to mailbox", "local"),)
    assert outcome.job_id == 7
    content = (world.mail / "joe").read_text().split("\n", 1)
    assert content[0].startswith("From s@x.example  ")
    assert content[1] == (
        "Return-Path: <s@x.example>\nX-Original-To: joseph@mx.example.com\nDelivered-To: Joe@mx.example.com\n"
        "From: a\nSubject: b\n\nhello\n\n"
    )
    assert world.machine.log == [
        "info: QID: to=<Joe@mx.example.com>, orig_to=<joseph@mx.example.com>, relay=local, delay=3,"
        " delays=2/1/0/0, dsn=2.0.0, status=sent (delivered to mailbox)"
    ]


def test_the_null_sender(world: World) -> None:
    world.deliver("joe", sender="")
    text = (world.mail / "joe").read_text()
    assert text.startswith("From MAILER-DAEMON  ")
    assert "\nReturn-Path: <>\n" in text


def test_the_spool_says_whose_rights(world: World) -> None:
    world.mail.chmod(0o1777)
    world.deliver("joe")
    assert world.machine.identity.acted[-1] == (ME, GROUP)
    world.mail.chmod(0o2775)
    world.deliver("joe")
    assert world.machine.identity.acted[-1] == (ME, world.mail.stat().st_gid)


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("nosuch", "5.1.1", 'unknown user: "nosuch"'),
        ("nosuch+ext", "5.1.1", 'unknown user: "nosuch"'),
        ("self", "5.1.1", 'unknown user: "self"'),
        ("postmaster", "2.0.0", "discarded"),
        ("empty", "2.0.0", "discarded"),
        ("badlist", "5.3.5", "mail system configuration error"),
        ("nolist", "5.3.5", "mail system configuration error"),
        ("relative", "5.3.5", "mail system configuration error"),
        ("listed-file", "5.7.1", "mail to file is restricted"),
        ("deep", "5.1.1", 'unknown user: "deep1"'),
    ],
)
def test_what_has_no_mailbox(world: World, name: str, code: str, text: str) -> None:
    assert world.one(name) == (code, text)
    assert os.listdir(world.mail) == []


def test_warnings(world: World) -> None:
    for name in ("badlist", "nolist", "relative", "postmaster"):
        world.deliver(name)
    assert [line for line in world.machine.log if line.startswith("warning")] == [
        f"warning: :include: file {world.base}/worldly is world writable",
        f"warning: unable to lookup :include: file {world.base}/none: No such file or directory",
        "warning: :include:list uses a relative path",
        "warning: required alias not found: postmaster",
    ]


def test_an_alias_to_users_is_delivered_at_once(world: World) -> None:
    assert world.one("both") == ("2.0.0", "delivered to mailbox")
    assert (world.box("joe"), world.box("ann")) == (1, 1)
    assert "\nDelivered-To: both@mx.example.com\n" in (world.mail / "ann").read_text()
    assert [line.partition(" relay")[0] for line in world.machine.log] == [
        "info: QID: to=<joe@mx.example.com>, orig_to=<both@mx.example.com>,",
        "info: QID: to=<ann@mx.example.com>, orig_to=<both@mx.example.com>,",
    ]


def test_an_alias_within_its_own_list_is_the_user(world: World) -> None:
    assert world.one("ann") == ("2.0.0", "delivered to mailbox")


def test_a_backslash_goes_past_aliases(world: World) -> None:
    assert world.one("backslash") == ("2.0.0", "delivered to mailbox")
    assert world.box("joe") == 1


def test_a_loop_of_aliases_ends(world: World) -> None:
    code, text = world.one("one")
    assert code == "5.4.6"
    assert text.startswith("alias database loop for ")


def test_an_alias_of_the_whole_local_part_comes_first(world: World) -> None:
    world.deliver("joe+list", "joe+other", "joe+a/b")
    assert (world.box("joe"), world.box("ann")) == (2, 1)
    assert "warning: QID: address with illegal extension: joe+a/b" in world.machine.log


def test_addresses_elsewhere_are_handed_back(world: World) -> None:
    assert world.one("away") == ("2.0.0", "forwarded")
    assert world.forwards == [Forward(7, 0, "s@x.example", (Recipient("x@elsewhere.example", "away@mx.example.com"),))]
    assert world.machine.log == []


def test_users_and_addresses_elsewhere(world: World) -> None:
    assert world.one("away-and-joe") == ("2.0.0", "delivered to mailbox")
    assert world.forwarded == [("s@x.example", ["x@elsewhere.example", "y@elsewhere.example"])]


def test_what_fails_beside_what_is_delivered_becomes_a_message_of_its_own(world: World) -> None:
    """So that it is reported under its own name, and what was delivered is not delivered again."""
    assert world.one("mix") == ("2.0.0", "delivered to mailbox")
    assert world.forwarded == [("s@x.example", ["nosuch@mx.example.com"])]
    assert len(world.machine.log) == 1


def test_a_locked_mailbox_beside_one_that_is_delivered(world: World) -> None:
    lock = world.mail / "ann.lock"
    lock.touch()
    world.machine.time = lock.stat().st_ctime
    assert world.one("both") == ("2.0.0", "delivered to mailbox")
    assert world.forwarded == [("s@x.example", ["ann@mx.example.com"])]
    assert world.box("joe") == 1


def test_a_locked_mailbox_alone(world: World) -> None:
    lock = world.mail / "joe.lock"
    lock.touch()
    world.machine.time = lock.stat().st_ctime
    code, text = world.one("joe")
    assert code == "4.2.0"
    assert (
        text == f"cannot update mailbox {world.mail}/joe for user joe. unable to create lock file {lock}: File exists"
    )
    assert world.forwards == []


def test_a_failure_of_the_alias_itself_beside_a_forward(world: World) -> None:
    code, text = world.one("file-and-away")
    assert (code, text) == ("5.7.1", f"cannot append message to file {world.base}/program: file is executable")
    assert world.forwarded == [("s@x.example", ["x@elsewhere.example"])]


def test_a_list_with_an_owner_has_messages_of_its_own(world: World) -> None:
    assert world.one("owned") == ("2.0.0", "forwarded")
    assert world.forwarded == [
        ("owner-owned@mx.example.com", ["joe@mx.example.com", "x@elsewhere.example"]),
    ]
    assert world.box("joe") == 0


def test_expand_owner_alias(tmp_path: Path) -> None:
    world = World(tmp_path, expand_owner_alias="yes")
    world.deliver("owned")
    assert world.forwarded[0][0] == "ann@mx.example.com"


def test_owner_request_special(tmp_path: Path) -> None:
    world = World(tmp_path, owner_request_special="no")
    world.deliver("owned")
    assert world.forwarded == [("s@x.example", ["x@elsewhere.example"])]
    assert world.box("joe") == 1


def test_a_list_in_a_file_has_messages_of_its_own(world: World) -> None:
    assert world.one("list") == ("2.0.0", "forwarded")
    assert world.forwarded == [("s@x.example", ["joe@mx.example.com", "x@elsewhere.example", "ann@mx.example.com"])]


def test_a_forwarding_loop_ends(world: World) -> None:
    head = b"Delivered-To: JOE@mx.example.com\r\n" + HEAD
    (status,) = world.deliver("joe", head=head).results
    assert (status.code, status.text) == ("5.4.6", "mail forwarding loop for joe@mx.example.com")


def test_a_file(world: World) -> None:
    assert world.one("file") == ("2.0.0", f"delivered to file: {world.base}/file")
    text = (world.base / "file").read_text()
    assert text.startswith("From s@x.example  ")
    assert "\nDelivered-To: file@mx.example.com\n" in text


def test_files_of_roots_aliases_belong_to_default_privs(world: World) -> None:
    if ME == 0:
        world.deliver("file")
        assert world.machine.identity.acted == [(65534, 65534)]
    else:
        world.deliver("file")
        assert world.machine.identity.acted == [(ME, GROUP)]


def test_a_maildir(world: World) -> None:
    assert world.one("maildir") == ("2.0.0", "delivered to maildir")
    (name,) = os.listdir(world.base / "maildir" / "new")
    assert (world.base / "maildir" / "new" / name).read_text() == (
        "Return-Path: <s@x.example>\nX-Original-To: maildir@mx.example.com\nDelivered-To: maildir@mx.example.com\n"
        "From: a\nSubject: b\n\nhello\n"
    )


@pytest.mark.parametrize(
    ("setting", "value", "place", "text"),
    [
        ("home_mailbox", "Mailbox", "joe/Mailbox", "delivered to mailbox"),
        ("home_mailbox", "Maildir/", "joe/Maildir/new", "delivered to maildir"),
        ("mail_spool_directory", "{dir}/spool/", "spool/joe/new", "delivered to maildir"),
    ],
)
def test_other_mailboxes(tmp_path: Path, setting: str, value: str, place: str, text: str) -> None:
    world = World(tmp_path, **{setting: value.replace("{dir}", str(tmp_path))})
    (tmp_path / "joe").mkdir()
    assert world.one("joe") == ("2.0.0", text)
    assert (tmp_path / place).exists()


def test_no_headers_that_nobody_wants(tmp_path: Path) -> None:
    world = World(tmp_path, prepend_delivered_header="command", enable_original_recipient="no")
    world.deliver("joe")
    text = (world.mail / "joe").read_text()
    assert "Delivered-To" not in text
    assert "X-Original-To" not in text


def test_the_size_limit(tmp_path: Path) -> None:
    world = World(tmp_path, mailbox_size_limit="300")
    assert world.one("joe")[0] == "2.0.0"
    assert world.one("joe") == (
        "5.2.2",
        f"cannot update mailbox {world.mail}/joe for user joe. error writing message: File too large",
    )
    assert world.box("joe") == 1


def test_a_mailbox_of_somebody_else(world: World) -> None:
    world.machine.accounts.add(Account("eve", ME + 1, GROUP, "/"))
    (world.mail / "eve").touch()
    assert world.one("eve") == (
        "4.2.0",
        f"cannot update mailbox {world.mail}/eve for user eve. destination {world.mail}/eve is not owned by recipient",
    )


def test_a_process_that_may_not_act_for_the_user(world: World) -> None:
    """Run by an ordinary user, whose own mailbox is all that he can write: the rest waits for a start as root."""
    world.machine.accounts.add(Account("eve", ME + 1, GROUP, "/"))
    world.machine.identity.forbidden |= {0, ME + 1, 65534} - {ME}
    code, text = world.one("eve")
    assert code == "4.3.5"
    assert text == f"cannot deliver to mailbox of eve: may not act as {ME + 1}"


def test_accounts_that_can_not_be_looked_up(world: World) -> None:
    world.machine.accounts.broken.add("joe")
    assert world.one("joe") == ("4.0.0", "user lookup error")


def test_an_alias_file_that_is_gone(tmp_path: Path) -> None:
    world = World(tmp_path, alias_maps=f"hash:{tmp_path}/none")
    assert world.one("joe") == ("4.3.0", "alias database unavailable")
    assert world.box("joe") == 0


def test_several_recipients(world: World) -> None:
    codes = [status.code for status in world.deliver("joe", "nosuch", "ann").results]
    assert codes == ["2.0.0", "5.1.1", "2.0.0"]


def test_the_mode_of_a_new_mailbox(world: World) -> None:
    world.deliver("joe")
    assert stat.S_IMODE((world.mail / "joe").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("default_privs", "root", "privileged"),
        ("default_privs", "postfix", "mail system owner"),
        ("default_privs", "nosuchuser", "unknown user"),
        ("mailbox_delivery_lock", "wish", "locking method"),
    ],
)
def test_a_configuration_that_can_not_be_used(tmp_path: Path, name: str, value: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        World(tmp_path, **{name: value})


# .forward files


def forward(world: World, text: str, name: str = ".forward", mode: int = 0o600) -> None:
    home = world.base / "joe"
    home.mkdir(exist_ok=True)
    (home / name).write_text(text)
    (home / name).chmod(mode)


def test_lists_that_would_fill_the_memory(world: World) -> None:
    forward(world, "x@elsewhere.example\n")
    for path in (world.base / "joe" / ".forward", world.base / "list"):
        os.truncate(path, 1 << 40)
    assert world.one("joe") == ("2.0.0", "delivered to mailbox")
    assert world.one("list") == ("5.3.5", "mail system configuration error")
    assert sum("is too large" in line for line in world.machine.log) == 2


def test_a_forward_file_that_is_exchanged_while_we_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    forward(world, "x@elsewhere.example\n", mode=0o600)
    forward(world, '"|/bin/false"\n', name="other", mode=0o666)
    look = os.lstat

    def lstat(path: str) -> os.stat_result:
        state = look(path)
        if str(path).endswith("/.forward"):
            os.replace(world.base / "joe" / "other", path)
        return state

    monkeypatch.setattr(os, "lstat", lstat)
    assert world.one("joe") == ("2.0.0", "delivered to mailbox")
    assert any("world writable" in line for line in world.machine.log)


def test_a_forward_file(world: World) -> None:
    forward(world, "# away\nx@elsewhere.example, ann\n\\joe\n")
    assert world.one("joe") == ("2.0.0", "delivered to mailbox")
    assert world.forwarded == [("s@x.example", ["x@elsewhere.example", "ann@mx.example.com"])]
    assert (world.box("joe"), world.box("ann")) == (1, 0)
    assert (ME, GROUP) in world.machine.identity.acted


def test_a_user_in_his_own_forward_file(world: World) -> None:
    forward(world, "joe\n")
    assert world.one("joe") == ("2.0.0", "delivered to mailbox")
    assert world.box("joe") == 1


def test_a_forward_file_of_the_extension(world: World) -> None:
    forward(world, "x@elsewhere.example\n", ".forward+news")
    world.deliver("joe+news", "joe+other", "joe")
    assert world.forwarded == [("s@x.example", ["x@elsewhere.example"])]
    assert world.box("joe") == 2


def test_an_extension_is_no_path_and_no_name(world: World) -> None:
    forward(world, "x@elsewhere.example\n", ".forward+$home")
    world.deliver("joe+$home")
    assert world.forwards == []
    assert world.box("joe") == 1


def test_an_empty_forward_file(world: World) -> None:
    forward(world, "# nothing\n\n")
    assert world.one("joe") == ("2.0.0", "delivered to mailbox")


def test_a_file_in_a_forward_file_is_the_users(world: World) -> None:
    forward(world, f"{world.base}/joe/file\n")
    assert world.one("joe") == ("2.0.0", f"delivered to file: {world.base}/joe/file")


def test_a_forward_file_that_anybody_may_write(world: World) -> None:
    forward(world, "x@elsewhere.example\n", mode=0o666)
    assert world.one("joe") == ("2.0.0", "delivered to mailbox")
    assert f"warning: file {world.base}/joe/.forward is world writable" in world.machine.log


def test_a_forward_file_that_is_a_link(world: World) -> None:
    (world.base / "joe").mkdir()
    os.symlink(world.base / "list", world.base / "joe" / ".forward")
    assert world.one("joe") == ("2.0.0", "delivered to mailbox")
    assert f"warning: file {world.base}/joe/.forward is not a regular file" in world.machine.log


def test_no_forward_path(tmp_path: Path) -> None:
    world = World(tmp_path, forward_path="")
    forward(world, "x@elsewhere.example\n")
    assert world.one("joe") == ("2.0.0", "delivered to mailbox")
    assert world.forwards == []


# A courier that has been taken over


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("hostile"), aliases="list: ann\n")


@hypothesis_settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    address=st.text(alphabet="jo/.|\\\"'`$+-@%!:;,<>()[]ann \0\n\udc80é", max_size=20),
    sender=st.text(alphabet="a@\n\0 <>\udc80", max_size=8),
)
@example(address="/etc/passwd@mx.example.com", sender="")
@example(address="|/bin/sh@mx.example.com", sender="")
@example(address=":include:/etc/passwd@mx.example.com", sender="")
@example(address="../joe@mx.example.com", sender="x\nFrom y")
def test_an_address_is_never_a_place(hostile: World, address: str, sender: str) -> None:
    """Whatever it asks for, only mailboxes of users are written, and each ends in a status."""
    before = {path for path in hostile.base.rglob("*") if path.parent != hostile.mail}
    hostile.forwards.clear()
    (status,) = hostile.deliver(Recipient(address), sender=sender).results
    assert status.code[0] in "245"
    assert {path for path in hostile.base.rglob("*") if path.parent != hostile.mail} == before
    assert set(os.listdir(hostile.mail)) <= {"joe", "ann"}


@pytest.mark.parametrize(
    ("recipient", "status"),
    [
        ("joe", Status("2.0.0", "delivered to mailbox", "local")),
        ("both", Status("2.0.0", "alias expanded", "local", report="expanded")),
        ("away", Status("2.0.0", "alias expanded", "local", report="expanded")),
        ("owned", Status("2.0.0", "alias expanded", "local")),
    ],
)
def test_whoever_asks_for_success_hears_of_the_alias_alone(world: World, recipient: str, status: Status) -> None:
    notify = int(Notify.SUCCESS | Notify.FAILURE)
    (found,) = world.deliver(Recipient(f"{recipient}@mx.example.com", notify=notify)).results
    assert found == status
    assert {one.notify for forward in world.forwards for one in forward.recipients} <= {int(Notify.FAILURE)}


def test_success_alone_becomes_nothing_further_on(world: World) -> None:
    world.deliver(Recipient("owned@mx.example.com", notify=int(Notify.SUCCESS)))
    (forward,) = world.forwards
    assert [(one.original, one.notify) for one in forward.recipients] == [("", int(Notify.NEVER))] * 2


@pytest.mark.parametrize(
    ("recipient", "parts"),
    [
        ("joe", [("joe", "", "2.0.0", "delivers to mailbox")]),
        ("nosuch", [("nosuch", "", "5.1.1", 'unknown user: "nosuch"')]),
        ("mix", [("joe", "mix", "2.0.0", "delivers to mailbox"), ("nosuch", "mix", "5.1.1", 'unknown user: "nosuch"')]),
        ("away", [("x@elsewhere.example", "away", "2.0.0", "forwards to x@elsewhere.example")]),
        ("maildir", [("maildir", "", "2.0.0", "delivers to maildir")]),
    ],
)
def test_verification_writes_nothing(world: World, recipient: str, parts: list[tuple[str, ...]]) -> None:
    def full(name: str) -> str:
        return name if "@" in name or not name else f"{name}@mx.example.com"

    world.trace = "verify"
    (status,) = world.deliver(recipient).results
    assert status.verified
    assert status.parts == tuple(Part(full(a), full(o), code, text) for a, o, code, text in parts)
    assert world.forwards == []
    assert list(world.mail.iterdir()) == []
    assert not (world.base / "maildir").exists()
    assert all("deliverable (" in line for line in world.machine.log)


@pytest.mark.parametrize(
    ("recipient", "code", "text"),
    [
        ("joe", "2.0.0", "delivers to mailbox"),
        ("nosuch", "5.1.1", 'unknown user: "nosuch"'),
        ("mix", "2.0.0", "aliased to joe, nosuch"),
        ("away", "2.0.0", "aliased to x@elsewhere.example"),
    ],
)
def test_to_a_probe_an_alias_is_good_whoever_it_is(world: World, recipient: str, code: str, text: str) -> None:
    world.trace, world.probe = "verify", True
    (status,) = world.deliver(recipient).results
    assert (status.code, status.text, status.verified) == (code, text, True)


def test_a_record_names_each_part(world: World) -> None:
    world.trace = "record"
    (status,) = world.deliver("both").results
    assert [(part.address, part.text) for part in status.parts] == [
        ("joe@mx.example.com", "delivered to mailbox"),
        ("ann@mx.example.com", "delivered to mailbox"),
    ]
    assert not status.verified
    assert world.box("joe") == 1


def test_locks_for_the_mailtool_of_sun(tmp_path: Path) -> None:
    """sun_mailtool_compatibility is an old name for dotlock."""
    world = World(tmp_path, mailbox_delivery_lock="fcntl", sun_mailtool_compatibility="yes")
    said = 'sun_mailtool_compatibility: deprecated parameter, use "mailbox_delivery_lock = dotlock" instead'
    assert world.machine.log == [f"warning: {said}"]
    (world.mail / "joe.lock").touch()
    assert world.one("joe")[0] == "4.2.0"
