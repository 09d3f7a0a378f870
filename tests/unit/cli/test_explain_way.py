"""explain of an address: each thing that makes it another, each copy, and what a transport of this machine does."""

from pathlib import Path

import pytest
from tests.unit.cli.test_explain import MASTER_CF, Asker

MAIN_CF = """\
compatibility_level = 3.6
myhostname = mx.here.example
mydomain = here.example
mydestination = here.example, $myhostname
"""


@pytest.fixture
def asker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Asker:
    return Asker(tmp_path, capsys)


def ask(asker: Asker, text: str, *words: str, master_cf: str = "") -> str:
    asker.configure(MAIN_CF + text)
    (asker.etc / "master.cf").write_text(MASTER_CF + master_cf)
    return "\n".join(asker.ask(*words)[1])


def test_completing_an_address_is_a_step(asker: Asker) -> None:
    said = ask(asker, "append_dot_mydomain = yes\nmyorigin = pc\n", "nobody-here")
    assert "nobody-here@pc  [append_at_myorigin " in said
    assert "nobody-here@pc.here.example  [append_dot_mydomain " in said
    assert f"[append_at_myorigin {asker.etc}/main.cf:6]" in said


def test_canonical_forms_one_after_the_other(asker: Asker) -> None:
    (asker.etc / "names").write_text("# old\njoe@a.example joe@b.example\njoe@b.example joe@c.example\n")
    said = ask(asker, f"canonical_maps = texthash:{asker.etc}/names\n", "joe@a.example")
    assert f"joe@b.example  [canonical_maps {asker.etc}/names:2]" in said
    assert f"joe@c.example  [canonical_maps {asker.etc}/names:3]" in said


def test_a_virtual_alias_is_not_made_canonical_again(asker: Asker) -> None:
    tables = (
        "canonical_maps = inline:{b@x.example=c@x.example}\nvirtual_alias_maps = inline:{a@x.example=b@x.example}\n"
    )
    said = ask(asker, tables, "a@x.example")
    assert "b@x.example: sent" in said
    assert "c@x.example" not in said


def test_copies_have_ways_of_their_own(asker: Asker) -> None:
    said = ask(
        asker,
        "always_bcc = all@copy.example\nrecipient_bcc_maps = inline:{ann@x.example=r@copy.example}\n"
        "sender_bcc_maps = inline:{s@y.example=from@copy.example}\n",
        "ann@x.example", "--from", "s@y.example",
    )  # fmt: skip
    for name, parameter, line in (
        ("all", "always_bcc", 5),
        ("r", "recipient_bcc_maps", 6),
        ("from", "sender_bcc_maps", 7),
    ):
        assert f"{name}@copy.example: sent" in said
        assert f"{name}@copy.example  [{parameter} {asker.etc}/main.cf:{line}]" in said
    assert said.startswith("ann@x.example: sent")
    assert "from@copy.example" not in ask(asker, "sender_bcc_maps = static:from@copy.example\n", "ann@x.example")


def test_the_sender_as_it_is_stored_and_as_others_see_it(asker: Asker) -> None:
    text = "masquerade_domains = here.example\nsmtp_generic_maps = inline:{joe@here.example=office@outside.example}\n"
    said = ask(asker, text, "x@far.example", "--from", "joe@pc.here.example")
    assert "from <joe@pc.here.example>, which is stored as <joe@here.example>" in said
    assert f"joe@pc.here.example becomes joe@here.example, by masquerade_domains ({asker.etc}/main.cf:5)" in said
    assert "other servers see joe@here.example as office@outside.example, by smtp_generic_maps" in said
    values = asker.values("x@far.example", "--from", "joe@pc.here.example")
    assert values["sender"]["stored"] == "joe@here.example"
    assert [step["by"] for step in values["sender"]["steps"]] == ["masquerade_domains"]


def test_what_depends_on_the_sender_is_asked_for_the_stored_one(asker: Asker) -> None:
    text = "sender_canonical_maps = inline:{s@y.example=t@y.example}\n"
    text += "sender_dependent_relayhost_maps = inline:{t@y.example=[relay.example]}\n"
    assert "to [relay.example]" in ask(asker, text, "x@far.example", "--from", "s@y.example")


def test_what_an_address_routes_to_by_itself(asker: Asker) -> None:
    said = ask(asker, "", "ann%far.example@here.example")
    assert "ann%far.example@here.example is ann@far.example, by allow_percent_hack" in said


PIPE = "fax unix - n n - 1 pipe\n  flags=R user=nobody argv=/bin/echo -t ${recipient}\n"


def test_a_program_is_shown_with_its_line_and_its_class(asker: Asker) -> None:
    said = ask(asker, "transport_maps = inline:{fax.example=fax:}\n", "1@fax.example", master_cf=PIPE)
    line = f"{asker.etc}/master.cf:{MASTER_CF.count(chr(10)) + 1}"
    assert said.startswith(f"1@fax.example: delivered: to /bin/echo -t ${{recipient}}, run as nobody ({line})")
    assert "class default: fax.example is in none of" in said
    assert f"service fax/unix: pipe ({line})" in said


def test_a_program_that_can_not_run_is_said(asker: Asker) -> None:
    broken = PIPE.replace("user=nobody", "")
    said = ask(asker, "transport_maps = inline:{fax.example=fax:}\n", "1@fax.example", master_cf=broken)
    assert said.startswith("1@fax.example: deferred: missing user= command-line attribute: mail waits")
    assert "to change it: correct fax in master.cf" in said


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("user=nobody", "user=no-user-here", "there is no user no-user-here"),
        ("user=nobody", "user=nobody:no-group-here", "there is no group no-group-here"),
        ("/bin/echo", "/no/such/prog", "/no/such/prog is not there"),
        ("/bin/echo", "/etc/passwd", "/etc/passwd is no program, or not executable"),
        ("/bin/echo", "/etc", "/etc is no program, or not executable"),
    ],
)
def test_a_program_that_is_not_there(asker: Asker, old: str, new: str, why: str) -> None:
    asker.configure(f"{MAIN_CF}transport_maps = inline:{{fax.example=fax:}}\n")
    (asker.etc / "master.cf").write_text(MASTER_CF + PIPE.replace(old, new))
    code, said = asker.ask("1@fax.example")
    assert code == 1
    assert said[0].startswith(f"1@fax.example: deferred: {why}: mail waits, and is then returned ({asker.etc}/master")
    assert said[1] == "  to change it: see to what is missing, or correct fax in master.cf"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("/no/such/prog -x", "/no/such/prog is not there"),
        ("/no/such/prog $USER", "/no/such/prog is not there"),
        ("/etc/passwd", "/etc/passwd is no program, or not executable"),
        ("/bin/true -x", ""),
        ("/no/such/prog || exit 75", ""),
        ("exec /no/such/prog", ""),
        ("vacation joe", ""),
    ],
)
def test_an_alias_that_is_a_command(asker: Asker, line: str, why: str) -> None:
    (asker.etc / "aliases").write_text(f'x "|{line}"\n')
    asker.configure(f"{MAIN_CF}alias_maps = texthash:{asker.etc}/aliases\n")
    code, said = asker.ask("x@here.example")
    assert code == int(bool(why))
    assert said[0] == (f"|{line}: command: {why}: mail does not get there" if why else f"|{line}: command")


def test_a_shell_of_local_commands_that_is_not_there(asker: Asker) -> None:
    (asker.etc / "aliases").write_text('x "|/no/such/prog"\n')
    text = f"alias_maps = texthash:{asker.etc}/aliases\nlocal_command_shell = /no/such/shell -c\n"
    assert ask(asker, text, "x@here.example").startswith("|/no/such/prog: command: /no/such/shell is not there")


def test_local_and_virtual_mailboxes_have_their_class(asker: Asker) -> None:
    text = "virtual_mailbox_domains = v.example\nvirtual_mailbox_maps = inline:{a@v.example=a}\n"
    said = ask(asker, f"{text}virtual_mailbox_base = /v\n", "a@v.example")
    assert said.startswith("a@v.example: delivered: virtual mailbox /v/a")
    assert "class virtual mailbox: v.example is in virtual_mailbox_domains" in said
    said = ask(asker, "alias_maps = inline:{team=root}\n", "team@here.example")
    assert "team@here.example\n  class local: here.example is in mydestination" in said
    assert asker.values("team@here.example")["local"][0]["class"] == "local"


def test_a_table_that_can_not_answer_for_a_sender(asker: Asker) -> None:
    said = ask(asker, "sender_canonical_maps = fail:broken\n", "x@far.example", "--from", "s@y.example")
    assert "from <s@y.example>: can't be looked up now: fail:broken" in said


def test_a_cleanup_service_of_its_own_is_heeded(asker: Asker) -> None:
    own = "cleanup unix n - n - 0 cleanup\n  -o always_bcc=all@copy.example\n"
    assert "all@copy.example: sent" in ask(asker, "", "x@far.example", master_cf=own)
