"""The tree against content: whatever tables are there, explain says who a message is stored for, and by which steps;
what local domains route to is where the courier sends it."""

import os

from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from postwarden.addressing.resolve import open_resolver
from postwarden.config.settings import Settings
from postwarden.content.prepare import Prepared, Preparer
from postwarden.deliver.local.ports import Account
from postwarden.explain.gateway import Gateway
from postwarden.explain.mailboxes import AsMyself
from postwarden.explain.opening import open_sender, open_walker
from postwarden.explain.tree import Node
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings
from postwarden.testing.local import LocalMachine

HEAD = b"From: a@b.example\r\nTo: c@d.example\r\nDate: today\r\nMessage-ID: <x@y>\r\n\r\n"
NAME = st.sampled_from(["a", "b", "c", "a+x"])
DOMAIN = st.sampled_from(["x.example", "pc.x.example", "y.example"])
WHOLE = st.builds("{}@{}".format, NAME, DOMAIN)
WRITTEN = st.one_of(WHOLE, NAME, st.just("b!a"), st.just("a%y.example"))
KEY = st.one_of(WHOLE, DOMAIN.map("@{}".format), NAME)
TABLE = st.dictionaries(KEY, st.lists(st.one_of(WHOLE, NAME), min_size=1, max_size=2), max_size=4)
COPIES = st.dictionaries(KEY, WRITTEN.map(lambda one: [one]), max_size=2)


def inline(table: dict[str, list[str]]) -> str:
    return "inline:{" + " ".join(f"{{{key}={', '.join(value)}}}" for key, value in table.items()) + "}" if table else ""


class Addressing:
    def __init__(self, chosen: Settings) -> None:
        resolver = open_resolver(chosen, Tables.of(chosen))
        self.rewrite = resolver.rewrite
        self.by_name_alone = resolver.by_name_alone


def stored(chosen: Settings, sender: str, address: str) -> Envelope | None:
    """As content stores it; None: it refuses it, or went round in a circle, which it leaves somewhere within."""
    said: list[str] = []
    prepare = Preparer(chosen, "", Tables.of(chosen), Addressing(chosen), lambda event: said.append(str(event)))
    found = prepare(Envelope("4F1B2", 1.7e9, sender, (Recipient(address),), 0), HEAD, local=True)
    if not isinstance(found, Prepared) or any("unreasonable" in line for line in said):
        return None
    return found.envelope


def ends(trees: list[Node]) -> tuple[set[str], bool]:
    """The addresses that content makes no others of, and whether something was not followed."""
    leaves = [way[-1] for tree in trees for way in tree.ends()]
    return {node.text for node in leaves if node.end is not None}, any(node.note for node in leaves)


@given(
    st.fixed_dictionaries({
        "canonical_maps": TABLE.map(inline), "recipient_canonical_maps": TABLE.map(inline),
        "sender_canonical_maps": TABLE.map(inline), "virtual_alias_maps": TABLE.map(inline),
        "recipient_bcc_maps": COPIES.map(inline), "sender_bcc_maps": COPIES.map(inline),
        "always_bcc": st.sampled_from(["", "copy@y.example"]), "masquerade_domains": st.sampled_from(["", "x.example"]),
        "masquerade_classes": st.sampled_from(["envelope_sender", "envelope_sender, envelope_recipient"]),
        "append_dot_mydomain": st.sampled_from(["yes", "no"]), "recipient_delimiter": st.sampled_from(["", "+"]),
    }),
    WRITTEN,
    st.one_of(st.just(""), WRITTEN),
)  # fmt: skip
@hypothesis_settings(deadline=None, max_examples=60, derandomize=True, phases=(Phase.generate,))
def test_the_same_recipients(parameters: dict[str, str], address: str, sender: str) -> None:
    chosen = settings(myorigin="x.example", mydestination="", **parameters)
    envelope = stored(chosen, sender, address)
    machine = LocalMachine(Account("nobody", os.geteuid(), os.getegid(), "/"))
    gateway = Gateway(chosen, account=lambda name: None)
    walker = open_walker(chosen, gateway, machine.accounts, AsMyself(), standard=True)
    whose, steps = open_sender(chosen, gateway)(sender)
    tree = walker.walk(address)
    found, unfollowed = ends([tree, *walker.copies(address, whose)])
    if envelope is None or unfollowed:
        return
    assert whose == envelope.sender
    assert (steps[-1].after[0] if steps else sender) == whose
    assert {one.lower() for one in found} == {one.address.lower() for one in envelope.recipients}
