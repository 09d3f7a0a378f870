"""The tree against the deliverer: whatever is in aliases, lists and .forward files, both find the same ends."""

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from postwarden.addressing.resolve import open_resolver
from postwarden.config.view import view
from postwarden.deliver.local.deliverer import local_deliverer
from postwarden.deliver.local.params import LocalParams
from postwarden.deliver.local.ports import Account
from postwarden.deliver.local.tables import open_tables
from postwarden.explain.ends import COMMAND, FILE, MAILBOX, NOWHERE, RELAY
from postwarden.explain.gateway import Gateway
from postwarden.explain.mailboxes import AsMyself
from postwarden.explain.opening import open_walker
from postwarden.explain.tree import Node
from postwarden.ipc.records import Job
from postwarden.mail.envelope import Recipient
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings
from postwarden.testing.local import LocalMachine

HERE = "@mx.example.com"
NAMES = ("a", "b", "c", "d+x", "joe", "ann")
TARGET = st.sampled_from([
    *NAMES, "A", "d", "d+y", "joe+x", f"b{HERE}", f"Joe{HERE}", "\\joe", "\\a", "x@far.example", "nosuch",
    "/box/file", '"|/bin/cat -u"', ":include:{base}/one", ":include:{base}/two", f"c%mx.example.com{HERE}",
])  # fmt: skip
LIST = st.lists(TARGET, min_size=1, max_size=3).map(", ".join)
ALIASES = st.dictionaries(st.sampled_from(NAMES), LIST, max_size=6)
# A file that a list may not name is not written to by others either, if they come later: Postfix's order.
FILES = st.fixed_dictionaries({}, optional={
    name: LIST.filter(lambda text: "box" not in text and "|" not in text) if name in ("one", "two") else LIST
    for name in ("one", "two", "joe/.forward", "ann/.forward")
})  # fmt: skip


class World:
    def __init__(self, base: Path, aliases: dict[str, str], files: dict[str, str]) -> None:
        for name in ("joe", "ann"):
            (base / name).mkdir()
        for name, text in {"one": "joe", "two": "ann", **files}.items():
            (base / name).write_text(text.replace("{base}", str(base)) + "\n")
            (base / name).chmod(0o644)
        lines = "".join(f"{name}: {value}\n" for name, value in aliases.items())
        (base / "aliases").write_text(lines.replace("{base}", str(base)))
        users = (Account(name, os.geteuid(), os.getegid(), str(base / name)) for name in ("joe", "ann"))
        self.machine = LocalMachine(*users, Account("nobody", 65534, 65534, "/"))
        self.settings = settings(
            alias_maps=f"hash:{base}/aliases", recipient_delimiter="+", mydestination="mx.example.com",
            mail_spool_directory="/mail",
        )  # fmt: skip
        tables = Tables.of(self.settings)
        params = view(LocalParams, self.settings, "local/unix")
        opened = open_tables(self.settings, "local/unix", params, tables)
        self.resolver = open_resolver(self.settings, tables)
        self.deliverer = local_deliverer(
            self.settings, "local/unix", params, self.machine.surroundings, opened, self.resolver
        )

    def delivered(self, address: str) -> tuple[set[tuple[str, str]], bool]:
        """Where the deliverer says that mail goes, and whether it met a loop. What it hands back to the courier comes
        to it again, as a message of its own."""
        ends: set[tuple[str, str]] = set()
        loops = False
        waiting, seen = [address], set[str]()
        while waiting:
            recipient = self.resolver.resolve(waiting.pop()).recipient
            if recipient.lower() in seen:
                continue
            seen.add(recipient.lower())
            if not recipient.lower().endswith(HERE):
                ends.add((RELAY, recipient.lower()))
                continue
            job = Job(1, "local", "mx.example.com", "Q", 0, 0, "s@x.example", (Recipient(recipient),), 0, b"\r\n", b"",
                      trace="verify")  # fmt: skip
            (status,) = self.deliverer.deliver(job, b"", lambda forward: None).results
            for part in status.parts:
                local = part.address.rpartition("@")[0].lower().removeprefix("\\").partition("+")[0]
                word, _, rest = part.text.partition(": ")
                if part.text.startswith("forwards to "):
                    waiting.append(part.text.removeprefix("forwards to "))
                elif "loop" in part.text:
                    loops = True
                elif part.text == "delivers to mailbox":
                    ends.add((MAILBOX, local))
                elif word in ("delivers to file", "delivers to command"):
                    ends.add((FILE if "file" in word else COMMAND, rest))
                elif word == "unknown user":
                    ends.add((NOWHERE, local))
                else:
                    ends.add(("other", "restricted" if "restricted" in part.text else part.text))
        return ends, loops

    def explained(self, address: str) -> tuple[set[tuple[str, str]], bool]:
        gateway = Gateway(self.settings, account=lambda name: getattr(self.machine.accounts.by_name(name), "uid", None))
        walker = open_walker(self.settings, gateway, self.machine.accounts, AsMyself())
        ends: set[tuple[str, str]] = set()
        loops = False
        for way in walker.walk(address).ends():
            loops = loops or way[-1].note.startswith("loop") or "within aliases" in way[-1].note
            if way[-1].end is not None:
                ends.add(self._end(way[-1]))
        return ends, loops

    def _end(self, node: Node) -> tuple[str, str]:
        assert node.end is not None
        if node.end.kind == MAILBOX:
            return MAILBOX, node.end.text.rpartition("/")[2]
        if node.end.kind in (FILE, COMMAND):
            return node.end.kind, node.text.removeprefix("|")
        if node.end.kind == RELAY:
            return RELAY, node.text.lower()
        if node.end.kind == NOWHERE:
            bare = self.resolver.resolve(node.text.removeprefix("\\")).recipient.rpartition("@")[0].lower()
            return NOWHERE, bare.partition("+")[0]
        return "other", "restricted" if "refused by allow_mail" in node.end.text else node.end.text


@given(ALIASES, FILES, st.sampled_from([*NAMES, "nosuch"]))
@hypothesis_settings(deadline=None, max_examples=150, derandomize=True)
def test_the_same_ends(aliases: dict[str, str], files: dict[str, str], name: str) -> None:
    base = Path(tempfile.mkdtemp(prefix="pw-tree-"))
    try:
        world = World(base, aliases, files)
        delivered, loops = world.delivered(f"{name}{HERE}")
        explained, explained_loops = world.explained(f"{name}{HERE}")
        # What was delivered to before is not even refused.
        for ends in (delivered, explained):
            ends.discard(("other", "restricted"))
        # Where aliases lead in a circle, local delivery goes round until something is met again; the tree says so.
        if loops:
            assert explained_loops
        elif not explained_loops:
            assert explained == delivered
    finally:
        shutil.rmtree(base)
