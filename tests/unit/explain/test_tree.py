"""Who really receives the mail of an address."""

from pathlib import Path

import pytest

from postwarden.cli.postmap import run as postmap
from postwarden.deliver.local.ports import Account
from postwarden.explain.drawing import drawn
from postwarden.explain.gateway import Gateway
from postwarden.explain.mailboxes import AsMyself
from postwarden.explain.opening import open_walker
from postwarden.testing.config import settings
from postwarden.testing.local import MemoryAccounts

MASTER = """\
local unix - n n - - local
virtual unix - n n - - virtual
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
discard unix - - n - - discard
filter unix - n n - - pipe user=joe argv=/bin/cat
"""


class Machine:
    def __init__(self, base: Path) -> None:
        self.base = base
        self.accounts = MemoryAccounts()
        for number, name in enumerate(("joe", "ann", "root")):
            home = base / name
            home.mkdir()
            self.accounts.add(Account(name, 1000 + number, 1000, str(home)))

    def file(self, name: str, text: str) -> str:
        path = self.base / name
        path.write_text(text)
        path.chmod(0o644)
        return str(path)

    def tree(self, address: str, aliases: str = "", **parameters: str) -> str:
        path = self.file("aliases", aliases)
        given = {"alias_maps": f"hash:{path}", "mail_spool_directory": "/mail", "forward_path": "$home/.forward"}
        given |= {"mydestination": "example.com", "myorigin": "example.com", "recipient_delimiter": "+"} | parameters
        made = settings("", MASTER, **given)
        gateway = Gateway(made, account=lambda name: getattr(self.accounts.by_name(name), "uid", None))
        root = open_walker(made, gateway, self.accounts, AsMyself()).walk(address)
        return "\n".join(drawn(root, plain=True)).replace(str(self.base), "")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_aliases_down_to_mailboxes_with_file_and_line(machine: Machine) -> None:
    text = machine.tree("staff@example.com", "# all\nstaff: joe,\n  boss\nboss: ann, \\joe, /var/x, |/bin/cat\n")
    assert text == (
        "staff@example.com\n"
        "|-- joe  [alias_maps /aliases:2]  => mailbox /mail/joe\n"
        "`-- boss  [alias_maps /aliases:2]\n"
        "    |-- ann  [alias_maps /aliases:4]  => mailbox /mail/ann\n"
        "    |-- joe  [alias_maps /aliases:4]  => mailbox /mail/joe\n"
        "    |-- /var/x  [alias_maps /aliases:4]  => file\n"
        "    `-- |/bin/cat  [alias_maps /aliases:4]  => command"
    )


def test_an_index_answers_with_the_line_of_its_source(machine: Machine) -> None:
    path = machine.file("aliases", "\n\nstaff: joe\n")
    assert postmap("postalias", [f"hash:{path}"], "f", aliases=True) == 0
    assert "[alias_maps /aliases:3]" in machine.tree("staff@example.com", "\n\nstaff: joe\n")
    assert "/aliases (not in its source)" in machine.tree("staff@example.com", "other: joe\n")


def test_a_forward_file(machine: Machine) -> None:
    machine.file("joe/.forward", "# away\n\\joe, ann\nx@example.net\n")
    assert machine.tree("joe@example.com") == (
        "joe@example.com\n"
        "|-- \\joe  [.forward /joe/.forward:2]  => mailbox /mail/joe\n"
        "|-- ann  [.forward /joe/.forward:2]  => mailbox /mail/ann\n"
        "`-- x@example.net  [.forward /joe/.forward:3]  => smtp to example.net, TLS not required; "
        "by default_transport, outside the organization"
    )


def test_a_forward_file_that_is_not_believed(machine: Machine) -> None:
    machine.file("joe/.forward", "ann\n")
    (machine.base / "joe" / ".forward").chmod(0o666)
    text = machine.tree("joe@example.com")
    assert "=> mailbox /mail/joe" in text
    assert "(file /joe/.forward is world writable)" in text or "bad owner" in text


def test_lists_in_files(machine: Machine) -> None:
    inner = machine.file("inner", "ann@example.com\n")
    path = machine.file("list", f"# members\njoe\n\n:include:{inner}\n/var/box\n")
    assert machine.tree("all", f"all: :include:{path}\n") == (
        "all\n"
        "`-- :include:/list  [alias_maps /aliases:1]\n"
        "    |-- joe  [:include: /list:2]  => mailbox /mail/joe\n"
        "    |-- :include:/inner  [:include: /list:4]\n"
        "    |   `-- ann@example.com  [:include: /inner:1]  => mailbox /mail/ann\n"
        "    `-- /var/box  [:include: /list:5]  => refused by allow_mail_to_files"
    )
    (machine.base / "list").chmod(0o666)
    assert "the mail waits: /list: everybody can write it" in machine.tree("all", f"all: :include:{path}\n")
    assert "No such file" in machine.tree("all", "all: :include:/nowhere/x\n")


def test_loops_end(machine: Machine) -> None:
    text = machine.tree("a", "a: b, joe\nb: c\nc: a@example.com\n")
    assert text.count("(loop)") == 1
    path = machine.base / "list"
    machine.file("list", f":include:{path}\njoe\n")
    assert "(loop)" in machine.tree("a", f"a: :include:{path}\n")
    assert machine.tree("joe", "joe: joe, ann\n").count("=> mailbox") == 2
    machine.file("joe/.forward", "ann\n")
    machine.file("ann/.forward", "joe\n")
    assert "(loop: the message comes back and bounces)" in machine.tree("joe")


def test_the_same_twice_is_drawn_once(machine: Machine) -> None:
    text = machine.tree("a", "a: b, c\nb: d\nc: d\nd: joe\n")
    assert (text.count("=> mailbox"), text.count("(as above)")) == (1, 1)


def test_a_deep_chain_and_a_wide_one_have_their_limits(machine: Machine) -> None:
    deep = "".join(f"n{n}: n{n + 1}\n" for n in range(200))
    assert "more than 50 aliases within aliases" in machine.tree("n0", deep)
    wide = "a: " + ", ".join(f"x{n}@example.net" for n in range(10_100)) + "\n"
    assert "more than 10000 steps" in machine.tree("a", wide)


def test_virtual_aliases_before_all(machine: Machine) -> None:
    virtual = machine.file("virtual", "info@v.example joe@example.com, ann\n@w.example staff@example.com\n")
    given = {"virtual_alias_maps": f"hash:{virtual}", "virtual_alias_domains": "v.example w.example"}
    assert machine.tree("info+x@v.example", **given) == (
        "info+x@v.example\n"
        "|-- joe+x@example.com  [virtual_alias_maps /virtual:1]  => mailbox /mail/joe\n"
        "`-- ann+x@example.com  [virtual_alias_maps /virtual:1]  => mailbox /mail/ann"
    )
    assert "refused: 5.1.1 User unknown in virtual alias table" in machine.tree("none@v.example", **given)


def test_where_mail_goes_that_is_not_local(machine: Machine) -> None:
    given = {"relay_domains": "inside.example", "transport_maps": "inline:{inside.example=smtp:[192.168.1.9]}"}
    text = machine.tree("x@inside.example", **given)
    assert "=> smtp to [192.168.1.9], in a private network, TLS not required" in text
    for hop in ("[127.0.0.1]:26", "[::1]", "[localhost]"):
        text = machine.tree("x@near.example", transport_maps=f"inline:{{near.example=smtp:{hop}}}")
        assert f"=> smtp to {hop}, on this machine, TLS not required" in text
    assert "transport_maps" in text or "inline:" in text
    assert "TLS encrypt" in machine.tree("x@other.example", smtp_tls_security_level="encrypt")
    policy = "inline:{other.example=secure}"
    assert "TLS secure" in machine.tree("x@other.example", smtp_tls_policy_maps=policy)
    assert "TLS not required" in machine.tree("x@next.example", smtp_tls_policy_maps=policy)
    assert "thrown away" in machine.tree("x@y.example", default_transport="discard:")
    assert "refused: no" in machine.tree("x@y.example", default_transport="error:no")
    assert "program of transport filter" in machine.tree("x@y.example", default_transport="filter")
    assert "no such transport in master.cf" in machine.tree("x@y.example", default_transport="gone")


def test_virtual_mailboxes(machine: Machine) -> None:
    given = {
        "virtual_mailbox_domains": "m.example", "virtual_mailbox_base": "/vmail",
        "virtual_mailbox_maps": "inline:{joe@m.example=m/joe/}",
    }  # fmt: skip
    assert "=> virtual mailbox /vmail/m/joe/" in machine.tree("joe@m.example", **given)
    assert "no virtual mailbox" in machine.tree("x@m.example", **given)


def test_users_that_do_not_exist_and_other_ways_to_a_mailbox(machine: Machine) -> None:
    assert "unknown user: the mail bounces" in machine.tree("nobody-here@example.com")
    assert "=> mailbox /mail/joe" in machine.tree("nobody-here@example.com", luser_relay="joe")
    assert "the required alias postmaster is missing" in machine.tree("postmaster")
    assert "mailbox command /bin/procmail" in machine.tree("joe", mailbox_command="/bin/procmail")
    assert "Maildir/" in machine.tree("joe", home_mailbox="Maildir/")
    assert "by mailbox_transport" in machine.tree("joe", mailbox_transport="smtp:[127.0.0.1]:24")
    assert "by fallback_transport" in machine.tree("nobody-here", fallback_transport="smtp:[127.0.0.1]:24")


def test_a_table_that_can_not_answer_is_said(machine: Machine) -> None:
    text = machine.tree("joe@example.com", alias_maps="hash:/nowhere/aliases")
    assert "can't be looked up now" in text


def test_a_name_with_an_extension(machine: Machine) -> None:
    assert "=> mailbox /mail/ann" in machine.tree("list+box@example.com", "list+box: ann\nlist: joe\n")
    assert "=> mailbox /mail/joe" in machine.tree("list+other@example.com", "list+box: ann\nlist: joe\n")


def test_a_terminal_is_not_written_to_by_the_address(machine: Machine) -> None:
    assert "\x1b" not in machine.tree("a\x1b[2J@example.com")
