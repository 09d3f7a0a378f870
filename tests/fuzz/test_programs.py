"""What strangers and operators write of programs: any address, any attribute, any end of a program."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.rounds import rounds

from postwarden.deliver.pipe.attributes import Attributes, BadAttribute, parse
from postwarden.deliver.pipe.macros import Template
from postwarden.deliver.programs.environment import harmless
from postwarden.deliver.programs.exits import failure
from postwarden.deliver.programs.ports import Ran
from postwarden.deliver.programs.shell import arguments
from postwarden.ipc.records import Job
from postwarden.mail.envelope import Client, Recipient

TEXT = st.text(st.one_of(st.sampled_from('$(){}"\\|;&`@+./ \0\n'), st.characters(codec="utf-8")), max_size=30)
MACROS = ("sender", "recipient", "user", "extension", "mailbox", "domain", "nexthop", "original_recipient", "size")
FLAGS = st.sets(st.sampled_from("BFRhqu.>"))


@given(st.lists(st.one_of(TEXT, st.sampled_from(("user=x", "argv=y", "flags=", "eol=\\", "size=1", "{")))))
@settings(max_examples=rounds(200))
def test_an_entry_is_understood_or_refused(words: list[str]) -> None:
    try:
        attributes = parse(words)
        template = Template(attributes, "+")
    except BadAttribute as error:
        assert str(error)
        return
    argv = template.argv(Job(1, "p", "n", "Q", 0, 0, "", (), 0, b"", b""), [Recipient("a@b")])
    assert argv
    assert attributes.user


@given(st.lists(TEXT, min_size=1, max_size=4), TEXT, TEXT, FLAGS)
@settings(max_examples=rounds(300))
def test_arguments_are_as_many_as_they_were_written(
    recipients: list[str], sender: str, helo: str, flags: set[str]
) -> None:
    written = [f"<${{{name}}}>" for name in MACROS] + ["<$client_helo>"]
    template = Template(Attributes("u", tuple(written), flags=frozenset(flags)), "+-")
    client = Client("x", "192.0.2.1", helo=helo)
    job = Job(1, "p", "n", "Q", 0, 0, sender, (), 0, b"", b"", client=client)
    argv = template.argv(job, [Recipient(address) for address in recipients])
    repeated = 6
    assert len(argv) == repeated * len(recipients) + len(written) - repeated
    assert not any("\0" in argument for argument in argv)
    assert all(argument.startswith("<") and argument.endswith(">") for argument in argv)
    assert argv[-1] == f"<{helo}>".replace("\0", "")


@given(st.binary(max_size=200), st.integers(0, 255), st.integers(0, 64), st.booleans())
@settings(max_examples=rounds(300))
def test_every_end_has_one_line(output: bytes, code: int, number: int, late: bool) -> None:
    status = failure(Ran(output, code, number, late), "/bin/x")
    if status is None:
        assert (code, number, late) == (0, 0, False)
        return
    assert re.fullmatch(r"[45]\.\d{1,3}\.\d{1,3}", status.code)
    assert status.text.isprintable()
    assert status.program_said.isprintable()


@given(TEXT)
@settings(max_examples=rounds(200))
def test_a_command_is_one_program(command: str) -> None:
    argv = arguments(command)
    assert argv
    assert argv[:2] == ("sh", "-c") or " ".join(argv) == " ".join(command.split())
    if argv[:2] != ("sh", "-c"):
        assert not set(command) & set("$(){}\"'\\|;&<>`*?[]#~\n\0")


@given(TEXT)
@settings(max_examples=rounds(100))
def test_a_shell_sees_no_character_of_its_own(text: str) -> None:
    assert not set(harmless(text, frozenset("ab@."))) - set("ab@._")
