"""What is noted of the way that addresses take: the parameter, the key and the line of each step, and nothing else."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from postwarden.addressing.params import RewriteParams
from postwarden.addressing.resolve import open_resolver
from postwarden.addressing.rewrite import Rewriter
from postwarden.config.view import view
from postwarden.content.generic import Generic
from postwarden.content.prepare import Prepared, Preparer
from postwarden.mail.decision import BUILT_IN, Rule
from postwarden.mail.envelope import Client, Envelope, Recipient
from postwarden.mail.remade import Remade, Remaking
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings

ENVELOPE = Envelope("4F1B2", 1.7e9, "s@far.example", (Recipient("joe@mx.example.com"),), 0)
FULL = b"From: a@b.example\r\nTo: c@d.example\r\nDate: today\r\nMessage-ID: <x@y>\r\n\r\n"


class Addressing:
    def __init__(self, **parameters: str) -> None:
        chosen = settings(**parameters)
        self.rewrite = Rewriter(view(RewriteParams, chosen)).rewrite
        self.by_name_alone = open_resolver(chosen, Tables.of(chosen)).by_name_alone


def prepared(recipients: tuple[str, ...], sender: str = "", head: bytes = FULL, **parameters: str) -> Prepared:
    chosen = settings(**parameters)
    prepare = Preparer(chosen, "", Tables.of(chosen), Addressing(**parameters), lambda event: None)
    envelope = replace(ENVELOPE, sender=sender, recipients=tuple(map(Recipient, recipients)))
    found = prepare(envelope, head, local=True)
    assert isinstance(found, Prepared)
    return found


def steps(*recipients: str, sender: str = "", head: bytes = FULL, **parameters: str) -> list[str]:
    return [
        f"{one.place}: {one.parameter}: {one.before} -> {', '.join(one.after)} by {one.rule.name} {one.rule.argument}"
        for one in prepared(recipients, sender, head, **parameters).remade
    ]


def test_nothing_is_noted_where_nothing_changes() -> None:
    maps = "inline:{{x@x.example=y@y.example} {joe@mx.example.com=joe@mx.example.com}}"
    assert prepared(("joe@mx.example.com",), "s@far.example").remade == ()
    assert prepared(("joe@mx.example.com",), canonical_maps=maps, virtual_alias_maps=maps).remade == ()


@pytest.mark.parametrize(("trace", "count"), [("yes", 2), ("no", 0)])
def test_nothing_is_noted_where_nobody_keeps_it(trace: str, count: int) -> None:
    maps = "inline:{joe@mx.example.com=ann@x.example}"
    made = prepared(("joe@mx.example.com",), virtual_alias_maps=maps, always_bcc="b@x.example", postwarden_trace=trace)
    assert len(made.remade) == count


def test_each_step_names_what_made_it() -> None:
    assert steps(
        "team", sender="Joe@host.lan",
        canonical_maps="inline:{joe@host.lan=joe@example.com, joe@example.com=joe.smith@example.com}",
        virtual_alias_maps="inline:{{team@mx.example.com=ann@in.example, bob} {bob@mx.example.com=bob@far.example}}",
        recipient_bcc_maps="static:archive@example.com", sender_bcc_maps="static:sent", always_bcc="all@x.example",
    ) == [
        "envelope_sender: canonical_maps: Joe@host.lan -> joe@example.com"
        " by inline:{joe@host.lan=joe@example.com, joe@example.com=joe.smith@example.com} Joe@host.lan",
        "envelope_sender: canonical_maps: joe@example.com -> joe.smith@example.com"
        " by inline:{joe@host.lan=joe@example.com, joe@example.com=joe.smith@example.com} joe@example.com",
        "envelope_recipient: sender_bcc_maps: joe.smith@example.com -> sent by static:sent joe.smith@example.com",
        "envelope_recipient: append_at_myorigin: sent -> sent@mx.example.com by myorigin mx.example.com",
        "envelope_recipient: append_at_myorigin: team -> team@mx.example.com by myorigin mx.example.com",
        "envelope_recipient: virtual_alias_maps: team@mx.example.com -> ann@in.example, bob@mx.example.com by inline:"
        "{{team@mx.example.com=ann@in.example, bob} {bob@mx.example.com=bob@far.example}} team@mx.example.com",
        "envelope_recipient: virtual_alias_maps: bob@mx.example.com -> bob@far.example by inline:"
        "{{team@mx.example.com=ann@in.example, bob} {bob@mx.example.com=bob@far.example}} bob@mx.example.com",
        "envelope_recipient: recipient_bcc_maps: team@mx.example.com -> archive@example.com"
        " by static:archive@example.com team@mx.example.com",
        "envelope_recipient: always_bcc:  -> all@x.example by always_bcc all@x.example",
    ]  # fmt: skip


def test_the_line_of_a_text_table_is_that_of_the_time(tmp_path: Path) -> None:
    table = tmp_path / "canonical"
    table.write_text("# names\nann@old.example ann@new.example\n")
    (step,) = prepared(("ann@old.example",), canonical_maps=f"texthash:{table}").remade
    assert (step.rule.origin.file, step.rule.origin.line) == (str(table), 2)


def test_headers_and_masquerading() -> None:
    head = b"From: joe@in.example.com\r\nTo: ann\r\nReply-To: joe@in.example.com\r\n\r\n"
    found = steps("x@y.example", head=head, masquerade_domains="example.com")
    assert sorted(found, reverse=True) == [
        "header_sender: masquerade_domains: joe@in.example.com -> joe@example.com by masquerade_domains example.com",
        "header_recipient: masquerade_domains: ann@mx.example.com -> ann@example.com by masquerade_domains example.com",
        "header_recipient: append_at_myorigin: ann -> ann@mx.example.com by myorigin mx.example.com",
    ]


def test_a_strangers_header_names_the_setting_for_strangers() -> None:
    chosen = settings(remote_header_rewrite_domain="domain.invalid")
    prepare = Preparer(chosen, "", Tables.of(chosen), Addressing(), lambda event: None)
    stranger = replace(ENVELOPE, client=Client("mail.far.example", "198.51.100.7"))
    found = prepare(stranger, b"To: ann\r\n\r\n", local=False)
    assert isinstance(found, Prepared)
    (step,) = found.remade
    assert (step.parameter, step.after, step.rule.name) == (
        "append_at_myorigin", ("ann@domain.invalid",), "remote_header_rewrite_domain",
    )  # fmt: skip


def test_a_message_can_not_fill_the_store() -> None:
    remaking = Remaking()
    for number in range(1000):
        remaking.note("virtual_alias_maps", f"a{number}", tuple(map(str, range(1000))), Rule("hash:/x", "a", BUILT_IN))
    taken = remaking.taken()
    assert len(taken) == 200
    assert all(len(one.after) == 100 for one in taken)
    assert remaking.taken() == ()
    remaking.note("alias_maps", "a", ("b" * 150_000,), Rule("hash:/x", "a", BUILT_IN))
    remaking.note("alias_maps", "c", ("d" * 150_000,), Rule("hash:/x", "c", BUILT_IN))
    remaking.note("alias_maps", "e", ("f",), Rule("hash:/x", "e", BUILT_IN))
    assert [one.before for one in remaking.taken()] == ["a", "e"]


NAMES = st.sampled_from(["a", "b", "c", "d"])
ADDRESS = NAMES.map(lambda name: f"{name}@mx.example.com")
TABLE = st.dictionaries(ADDRESS, st.lists(st.one_of(NAMES, ADDRESS), min_size=1, max_size=2), max_size=4)


def inline(table: dict[str, list[str]]) -> str:
    return "inline:{" + " ".join(f"{{{key}={', '.join(value)}}}" for key, value in table.items()) + "}" if table else ""


def followed(given: list[str], remade: tuple[Remade, ...]) -> set[str]:
    """Where steps lead, those of each parameter in their turn."""
    found = set(given)
    for names in (("append_at_myorigin",), ("canonical_maps",), ("virtual_alias_maps",)):
        by = {one.before: one.after for one in remade if one.parameter in names}
        ends, seen = set[str](), set[str]()
        waiting = sorted(found)
        while waiting:
            address = waiting.pop()
            if address in seen:
                continue
            seen.add(address)
            after = by.get(address, (address,))
            waiting += [one for one in after if one != address]
            if address in after:
                ends.add(address)
        found = ends
    return found


@given(TABLE, TABLE, st.lists(st.one_of(NAMES, ADDRESS), min_size=1, max_size=3))
def test_the_steps_lead_to_what_is_stored(
    canonical: dict[str, list[str]], virtual: dict[str, list[str]], given: list[str]
) -> None:
    parameters = {"canonical_maps": inline(canonical), "virtual_alias_maps": inline(virtual)}
    chosen = settings(**parameters)
    said: list[str] = []
    prepare = Preparer(chosen, "", Tables.of(chosen), Addressing(), lambda event: said.append(str(event)))
    found = prepare(replace(ENVELOPE, recipients=tuple(map(Recipient, given))), FULL, local=True)
    # Of tables that lead in a circle, cleanup(8) stops somewhere within.
    if isinstance(found, Prepared) and not any("unreasonable" in line for line in said):
        assert followed(given, found.remade) == {one.address for one in found.envelope.recipients}


def test_what_leaves_under_another_name_is_noted_once() -> None:
    chosen = settings(smtp_generic_maps="inline:{joe@mx.example.com=joe@example.com}")
    generic = Generic(chosen, "smtp/unix", "smtp_generic_maps", Tables.of(chosen), Addressing())
    assert generic.address("joe@mx.example.com") == "joe@example.com"
    assert b"joe@example.com" in generic.head(b"From: joe@mx.example.com\r\nTo: x@y.example\r\n\r\n")
    (step,) = generic.taken()
    assert (step.parameter, step.after) == ("smtp_generic_maps", ("joe@example.com",))
    assert generic.taken() == ()


def test_bytes_that_are_no_text_can_be_told_to_other_roles() -> None:
    chosen = settings(smtp_generic_maps="inline:{@mx.example.com=@example.com}")
    generic = Generic(chosen, "smtp/unix", "smtp_generic_maps", Tables.of(chosen), Addressing())
    assert b"j\xe4e@example.com" in generic.head(b"From: j\xe4e@mx.example.com\r\n\r\n")
    (step,) = generic.taken()
    assert (step.before, step.after) == ("j?e@mx.example.com", ("j?e@example.com",))
    msgspec.msgpack.encode(step)
