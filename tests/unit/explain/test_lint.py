"""Findings on alias files, each by file and line."""

import os
from pathlib import Path

import pytest

from postwarden.cli.postmap import run as postmap
from postwarden.deliver.local.ports import Account
from postwarden.explain.gateway import Gateway
from postwarden.explain.lint import Linter
from postwarden.explain.mailboxes import AsMyself
from postwarden.testing.config import settings
from postwarden.testing.local import MemoryAccounts

MASTER = "local unix - n n - - local\nsmtp unix - - n - - smtp\nrelay unix - - n - - smtp\nerror unix - - n - - error\n"
SOUND = "postmaster: root\nabuse: root\nmailer-daemon: root\nroot: joe\n"


class Machine:
    def __init__(self, base: Path) -> None:
        self.base = base
        self.accounts = MemoryAccounts(*(Account(n, u, u, str(base / n)) for n, u in (("joe", 1001), ("ann", 1002))))
        self.accounts.add(Account("root", 0, 0, str(base / "root")))
        for name in ("joe", "ann", "root"):
            (base / name).mkdir()

    def file(self, name: str, text: str, mode: int = 0o644) -> str:
        path = self.base / name
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def linter(self, **parameters: str) -> Linter:
        given = {"mydestination": "example.com", "myorigin": "example.com", "mydomain": "example.com"} | parameters
        made = settings("", MASTER, **given)
        gateway = Gateway(made, account=lambda name: getattr(self.accounts.by_name(name), "uid", None))
        return Linter(made, gateway, self.accounts, AsMyself())

    def lint(self, text: str, **parameters: str) -> list[str]:
        """Findings on one file, which alias_maps names."""
        path = self.file("aliases", text)
        given = {"alias_maps": f"hash:{path}"} | parameters
        problems = self.linter(**given).file(path)
        return [f"{p.origin}: {p.severity}: {p.text}".replace(f"{self.base}", "") for p in problems]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_sound_file_has_no_findings(machine: Machine) -> None:
    machine.file("list", "joe\nann@example.com\n")
    text = f'{SOUND}staff: :include:{machine.base}/list, \\joe, "|/bin/cat"\nbox: {machine.base}/mailbox\n'
    assert not machine.lint(text)
    assert not machine.linter(alias_maps=f"hash:{machine.base}/aliases").tables()


def test_administrative_mail_that_leaves_in_clear_text(machine: Machine) -> None:
    found = machine.lint(SOUND.replace("root: joe", "root: boss\nboss: mick@example.net"))
    assert (
        "/aliases:5: warning: administrative mail leaves in clear text: root -> boss -> mick@example.net, "
        "outside the organization, TLS not required" in found
    )
    encrypted = machine.lint(SOUND.replace("root: joe", "root: mick@example.net"), smtp_tls_security_level="encrypt")
    assert "/aliases:4: warning: administrative mail leaves the organization: root -> mick@example.net" in encrypted
    assert not any("clear text" in text for text in encrypted)


def test_administrative_mail_to_an_inner_server(machine: Machine) -> None:
    text = SOUND.replace("root: joe", "root: joe@in.example.com")
    inner = {"relay_domains": "in.example.com"}
    clear = machine.lint(text, **inner)
    assert any(
        "leaves in clear text: postmaster -> root -> joe@in.example.com, TLS not required" in text for text in clear
    )
    assert not machine.lint(text, transport_maps="inline:{in.example.com=smtp:[10.1.2.3]}", **inner)
    assert not machine.lint(text, smtp_tls_policy_maps="inline:{in.example.com=encrypt}", **inner)


def test_administrative_mail_by_a_forward_file_and_by_a_list(machine: Machine) -> None:
    machine.file("joe/.forward", "\n\\joe, joe@example.net\n")
    found = machine.lint(SOUND)
    start = "/joe/.forward:2: warning: administrative mail leaves in clear text: root -> joe -> joe@exa"
    assert any(text.startswith(start) for text in found)
    (machine.base / "joe" / ".forward").unlink()
    machine.file("list", "ann\nx@example.net\n")
    found = machine.lint(SOUND.replace("root: joe", f"root: :include:{machine.base}/list"))
    assert any(t.startswith("/list:2: warning: administrative mail leaves in clear text: root -> x@exa") for t in found)


def test_required_names(machine: Machine) -> None:
    found = machine.lint("root: joe\n")
    assert [text.partition(":")[0] + text[text.index("there") :].partition(":")[0] for text in found] == [
        "/aliases" + f"there is no alias {name}" for name in ("postmaster", "abuse", "mailer-daemon")
    ]


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("x: :include:relative", "5: error: x: :include:relative is a relative path: the mail waits"),
        ("x: :include:/nowhere/l", "5: error: x: :include:/nowhere/l: No such file or directory: the mail waits"),
        ("x: etc/list", "5: error: x: etc/list is taken for an address"),
        ("x: include:/etc/list", "5: error: x: include: without a colon before it"),
        ("x: nobodyhere", "5: warning: x: dead end: nobodyhere is neither an alias nor a user here"),
        ("x: /nowhere/box", "5: warning: x: dead end: there is no directory /nowhere"),
        ('x: "|/nowhere/prog -x"', "5: warning: x: dead end: there is no program /nowhere/prog"),
        ('x: "|/etc/passwd"', "5: warning: x: dead end: /etc/passwd can't be executed"),
        ("x: a@other.example", "5: warning: x: mail leaves the organization: a@other.example"),
        ("x: a@b.example.com", "5: warning: x: b.example.com is neither in mydestination nor in relay_domains"),
        ("-x: joe", "5: warning: -x: can never match: an address that begins with - is refused"),
        ("root: ann", "5: warning: root: can never match: /aliases:4 comes first"),
        ("ROOT: ann", "5: warning: root: can never match: /aliases:4 comes first"),
        ("x@example.com: joe", "5: error: name must be local: left out"),
        ("nothing", "5: error: need name:value pair: left out"),
        ("x: y\ny: x", "5: warning: x: loop: x -> y -> x"),
    ],
)
def test_a_finding_of_a_line(machine: Machine, line: str, finding: str) -> None:
    assert any(text.startswith(f"/aliases:{finding}") for text in machine.lint(f"{SOUND}{line}\n"))


def test_lists_that_others_can_write(machine: Machine) -> None:
    machine.file("list", "joe\n", 0o646)
    line = f"{SOUND}x: :include:{machine.base}/list\n"
    assert machine.lint(line) == ["/aliases:5: error: x: :include:/list: everybody can write it: the mail waits"]
    (machine.base / "list").chmod(0o664)
    os.chown(machine.base / "list", -1, 12345) if os.geteuid() == 0 else None
    if os.geteuid() == 0:
        assert "group 12345 can write it" in machine.lint(line)[0]
    (machine.base / "list").chmod(0o644)
    inner = machine.base / "open"
    inner.mkdir()
    inner.chmod(0o777)
    (inner / "list").write_text("joe\n")
    assert machine.lint(f"{SOUND}x: :include:{inner}/list\n") == [
        "/aliases:5: error: x: list /open/list: everybody can exchange what is in /open"
    ]


def test_a_file_that_is_a_list_and_one_that_is_a_mailbox(machine: Machine) -> None:
    path = machine.file("clients", "# clients\njoe@example.net\nann, bob@example.org\n")
    (finding,) = [text for text in machine.lint(f"{SOUND}clients: {path}\n") if "/aliases:5: error" in text]
    assert finding == (
        "/aliases:5: error: clients: /clients holds addresses, and mail is appended to it: :include:/clients is meant?"
    )
    path = machine.file("box", "From joe@example.net Mon Nov  1 00:00:00 2021\nSubject: x\n\nhello\n")
    assert not machine.lint(f"{SOUND}box: {path}\n")
    machine.file("box", "")
    assert not machine.lint(f"{SOUND}box: {path}\n")


def test_findings_within_a_list_have_its_lines(machine: Machine) -> None:
    path = machine.file("list", "joe\n\nx@other.example\n")
    assert "/list:3: warning: x: mail leaves the organization: x@other.example" in machine.lint(
        f"{SOUND}x: :include:{path}\n"
    )


def test_entries_that_another_table_hides(machine: Machine) -> None:
    first, second = machine.file("first", f"{SOUND}x: joe\n"), machine.file("second", "y: joe\nx: ann\n")
    problems = machine.linter(alias_maps=f"hash:{first} hash:{second}").tables()
    assert [(p.origin.file, p.origin.line, p.text) for p in problems] == [
        (second, 2, f"x: can never match: {first}:5 comes first")
    ]
    found = machine.lint(f"{SOUND}x: joe\n", virtual_alias_maps="inline:{x@example.com=ann}")
    assert found[0].startswith("/aliases:5: warning: x: can never match: virtual_alias_maps")


def test_a_file_that_nobody_reads(machine: Machine) -> None:
    assert any("alias_maps does not name this file" in text for text in machine.lint(SOUND, alias_maps=""))


def test_an_index_that_is_older_than_its_source(machine: Machine) -> None:
    path = machine.file("aliases", SOUND)
    assert postmap("postalias", [f"hash:{path}"], "f", aliases=True) == 0
    linter = machine.linter(alias_maps=f"hash:{path}")
    assert not linter.tables()
    os.utime(path, (2_000_000_000, 2_000_000_000))
    assert "newer than its index" in linter.tables()[0].text


def test_a_file_that_can_not_be_read(machine: Machine) -> None:
    linter = machine.linter()
    (only,) = linter.file("/nowhere/aliases")
    assert str(only) == "error: /nowhere/aliases: can't be read: No such file or directory"


def test_bytes_of_any_kind(machine: Machine) -> None:
    path = machine.base / "aliases"
    path.write_bytes(bytes(range(256)) * 40)
    assert machine.linter().file(str(path))


def test_a_file_with_every_kind_of_target(machine: Machine) -> None:
    found = machine.lint(
        "# An alias file with every kind of target\npostmaster:     root\nmailer-daemon:  root\nhostmaster:     root\n"
        "root:           bdewinter\nmailguys:       bdewinter,mick.bauer\n"
        "clients:        :include:/etc/postfix/clientlist.txt\nspam-reports:   /home/bdewinter/spambucket.txt\n"
    )
    assert found == [
        "/aliases:7: error: clients: :include:/etc/postfix/clientlist.txt: No such file or directory: the mail waits",
        "/aliases:8: warning: spam-reports: dead end: there is no directory /home/bdewinter",
        "/aliases:5: warning: root: dead end: bdewinter is neither an alias nor a user here",
        "/aliases:6: warning: mailguys: dead end: bdewinter is neither an alias nor a user here",
        "/aliases:6: warning: mailguys: dead end: mick.bauer is neither an alias nor a user here",
        "/aliases: warning: there is no alias abuse: RFC 2142 wants it: whoever gets spam from here writes there",
    ]
