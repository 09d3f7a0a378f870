"""Who really receives the mail of an address: the whole tree, with file and line of each step.

It goes the way of the mail, over the pipeline's own objects: standard form, canonical and virtual maps as content has
them, the resolver's transport, then aliases, lists, .forward and the mailbox as local delivery has them. `sendmail -bv`
asks the deliverers themselves; this asks nobody, and works while the gateway is down.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from postwarden.addressing.aliases import Destination, Kind, destinations
from postwarden.addressing.resolve import where
from postwarden.content.mapping import Mapper, Unreasonable
from postwarden.explain.ends import FILE, NOWHERE, REFUSED, End, Ends, command
from postwarden.explain.gateway import Gateway
from postwarden.explain.lists import ListError, list_lines
from postwarden.explain.mailboxes import Mailboxes
from postwarden.explain.places import Places
from postwarden.mail.decision import Pending, Rule
from postwarden.mail.remade import Remade, Remaking
from postwarden.tables.keys import split_extension
from postwarden.tables.maps import Maps
from postwarden.tables.table import Found, TableError

MOST_NODES = 10_000
DEPTH = 50
"""Of aliases within aliases, as in local delivery."""
_MOST_DEPTH = 100
"""Of messages that beget messages, too: an extension that grows on each round is no loop that can be seen."""


class Node(Struct):
    """An address, file, command or list, and what it becomes."""

    text: str
    how: str = ""
    """Which setting or file made it of the node above: `alias_maps`, `:include:`, `.forward`."""
    place: str = ""
    """file:line of that."""
    children: list["Node"] = field(default_factory=list)
    end: End | None = None
    note: str = ""
    """Why it is not followed: a loop, a limit, a list that can't be read."""

    def ends(self, above: tuple["Node", ...] = ()) -> Iterator[tuple["Node", ...]]:
        """The way to each end: the nodes from this one down."""
        way = (*above, self)
        if self.end is not None or self.note:
            yield way
        for child in self.children:
            yield from child.ends(way)


class Content(Struct, frozen=True):
    """What becomes of a recipient before it is stored."""

    rewrite: Callable[[str], str]
    canonical: Callable[[str], str]
    virtual: Maps
    mapper: Mapper
    remaking: Remaking
    """What the others note."""
    copies: Callable[[str, str], tuple[Remade, ...]]
    """Of an address and a sender: whom automatic copies of the mail go to."""


class Source(Protocol):
    """Of aliases: `deliver.local.lists.AliasTables`, or a file that is only looked at."""

    def find(self, name: str) -> Found | None: ...


class Limits(Struct, frozen=True):
    """What main.cf permits."""

    delimiter: str
    files: tuple[str, ...]
    commands: tuple[str, ...]
    propagate: tuple[str, ...]
    owners: bool
    """owner_request_special."""
    reset_owner: bool
    shell: str
    """local_command_shell."""


class _Step(Struct, frozen=True):
    path: tuple[str, ...] = ()
    """The addresses above, in lower case."""
    within: str = ""
    """The alias, or user with a .forward, that is being expanded: in its own list its name means the user."""
    source: str = ""
    """`alias`, `include`, `forward`, as allow_mail_to_files has it."""
    forwards: frozenset[str] = frozenset()
    """.forward files that are being read: who comes back to one gets to the mailbox."""
    owner: str = ""
    """Who answers for the list or .forward file: users of it other than himself get a message of their own."""
    own: str = ""
    """The recipient of this message, in lower case."""
    behind: frozenset[str] = frozenset()
    """Those of the messages before it, which Delivered-To names: to come back to one of them is a loop."""
    depth: int = 0


class Walker:
    def __init__(
        self,
        gateway: Gateway,
        ends: Ends,
        aliases: Source,
        *,
        content: Content,
        mailboxes: Mailboxes,
        places: Places,
        limits: Limits,
    ) -> None:
        self._gateway = gateway
        self._ends = ends
        self._aliases = aliases
        self._content = content
        self._mailboxes = mailboxes
        self._places = places
        self._limits = limits
        self._count = 0
        self.here: dict[str, None] = {}
        """Recipients that the tree has given to local delivery."""
        self._done: set[tuple[str, frozenset[str]]] = set()

    def walk(self, address: str) -> Node:
        """The tree of one address. What can't be looked up now is said where it stands."""
        self._count = 0
        self.here.clear()
        self._done.clear()
        node = Node(address)
        self._enter(node, address, _Step())
        return node

    def copies(self, address: str, sender: str) -> list[Node]:
        """The trees of automatic copies of mail to that address. To be called after `walk`."""
        try:
            steps = self._content.copies(address, sender)
        except (TableError, Pending) as error:
            return [Node("automatic copies", note=f"can't be looked up now: {error}")]
        except Unreasonable:
            return []  # the tree says it
        found = []
        for step in steps:
            node = Node(step.after[0], step.parameter, self._place(step.rule))
            self._enter(node, step.after[0], _Step())
            found.append(node)
        return found

    # Content: virtual aliases

    def _enter(self, node: Node, address: str, step: _Step) -> None:
        self._content.remaking.taken()
        try:
            canonical = self._content.canonical(self._content.rewrite(address))
            for made in self._content.remaking.taken():
                node = self._child(node, made.after[0], made.parameter, self._place(made.rule))
        except (TableError, Pending) as error:
            node.note = f"can't be looked up now: {error}"
            return
        self._expand(node, canonical, step)

    def _expand(self, node: Node, whole: str, step: _Step) -> None:
        """An address in canonical form. What virtual_alias_maps has for it is not brought into that form again."""
        try:
            found = self._virtual(whole)
            if found is None:
                self._resolve(node, whole, step)
                return
            propagate = "virtual" in self._limits.propagate
            targets = self._content.mapper.targets(self._content.virtual, whole, propagate=propagate) or []
        except (TableError, Pending) as error:
            node.note = f"can't be looked up now: {error}"
            return
        inner = replace(step, path=(*step.path, whole.lower()))
        for target in targets:
            child = self._child(node, target, "virtual_alias_maps", self._places.shown(found))
            if target.lower() == whole.lower():
                self._resolve(child, target, step)
            elif target.lower() in inner.path:
                child.note = "loop"
            elif not self._limited(child, inner):
                self._expand(child, target, inner)

    def _virtual(self, address: str) -> Found | None:
        if not self._content.virtual:
            return None
        return self._content.virtual.find_address(address, self._limits.delimiter, self._gateway.by_name_alone)

    # Routing

    def _resolve(self, node: Node, address: str, step: _Step) -> None:
        """Raises TableError, Pending."""
        resolved = self._gateway.resolve(address)
        if not self._ends.local(resolved):
            node.end = self._ends.of(resolved)
            if resolved.table:
                node.end = replace(node.end, text=f"{node.end.text} ({where(resolved.rule)})")
            return
        key = resolved.recipient.lower()
        self.here.setdefault(resolved.recipient)
        step = replace(step, own=step.own or key)
        if key in step.behind:
            node.note = "loop: the message comes back and bounces"
            return
        itself = step.within in self._gateway.names_of(_local(key))
        if key in step.path and not itself:
            node.note = "loop"
            return
        done = (key, step.forwards | step.behind | {step.own, step.owner, step.source, f"in {step.within}"})
        if done in self._done and not itself:
            node.note = "as above"
            return
        self._done.add(done)
        self._local(node, resolved.recipient, replace(step, path=(*step.path, key)))

    # Local delivery

    def _local(self, node: Node, address: str, step: _Step) -> None:
        local = _local(address.lower())
        user, extension = split_extension(local, self._limits.delimiter)
        for name in (local, user) if extension else (local,):
            if step.within != name and (found := self._aliases.find(name)) is not None:
                unmatched = extension if name != local and "alias" in self._limits.propagate else ""
                inner = replace(step, within=name, source="alias", owner=self._owner(name, step))
                place = self._places.shown(found)
                self._each(node, destinations(found.value), inner, ("alias_maps", place, unmatched))
                return
        if (step.owner and step.owner != user) or step.source == "include":
            self._again(node, address, step)
        else:
            self._user(node, address, user, extension, step)

    def _owner(self, name: str, step: _Step) -> str:
        if self._limits.owners and self._aliases.find(f"owner-{name}") is not None:
            return f"owner-{name}"
        return "" if self._limits.reset_owner else step.owner

    def _again(self, node: Node, address: str, step: _Step) -> None:
        """As a message of its own."""
        if not self._limited(node, step):
            self._enter(node, address, _Step(behind=step.behind | {step.own}, depth=step.depth + 1))

    def _user(self, node: Node, address: str, user: str, extension: str, step: _Step) -> None:
        forward = self._mailboxes.forward(user, address, extension)
        if forward is not None and forward.path not in step.forwards:
            if forward.why:
                node.note = forward.why
            inner = replace(step, within=_local(address.lower()), source="forward", path=(), owner=user,
                            forwards=step.forwards | {forward.path})  # fmt: skip
            for number, line in forward.lines:
                self._each(node, destinations(line), inner, (".forward", f"{forward.path}:{number}", ""))
            if forward.lines:
                return
        to = self._mailboxes.relay(user, address, extension)
        if to:
            child = self._child(node, to, "luser_relay", "")
            if not self._limited(child, step):
                self._enter(child, to, replace(step, within=user, depth=step.depth + 1))
            return
        node.end = self._mailboxes.end(user)

    def _each(self, node: Node, listed: list[Destination], step: _Step, by: tuple[str, str, str]) -> None:
        """`by`: which setting, where, and the extension to add."""
        how, place, extension = by
        depth = step.depth + 1
        for one in listed:
            child = self._child(node, str(one), how, place)
            if self._limited(child, step):
                continue
            step = replace(step, depth=depth)
            match one.kind:
                case Kind.ADDRESS:
                    self._address(child, one.value or "MAILER-DAEMON", extension, step)
                case Kind.INCLUDE:
                    self._include(child, one.value, step)
                case Kind.FILE:
                    fine = step.source in self._limits.files
                    child.end = End(FILE, "file") if fine else End(REFUSED, "refused by allow_mail_to_files")
                case Kind.COMMAND:
                    fine = step.source in self._limits.commands
                    refused = End(REFUSED, "refused by allow_mail_to_commands")
                    child.end = command("command", self._limits.shell, one.value) if fine else refused

    def _address(self, node: Node, address: str, extension: str, step: _Step) -> None:
        bare = address.removeprefix("\\")
        if extension:
            local, at, domain = bare.rpartition("@")
            bare = f"{local}{extension}@{domain}" if at else bare + extension
        try:
            resolved = self._gateway.resolve(bare)
            if not self._ends.local(resolved):
                self._again(node, bare, step)
            elif bare != address:
                user = split_extension(_local(resolved.recipient.lower()), self._limits.delimiter)[0]
                node.end = self._mailboxes.end(user)
            else:
                self._resolve(node, bare, step)
        except (TableError, Pending) as error:
            node.note = f"can't be looked up now: {error}"

    def _include(self, node: Node, path: str, step: _Step) -> None:
        if path in step.path:
            node.note = "loop"
            return
        try:
            lines = list_lines(path)
        except ListError as error:
            node.end = End(NOWHERE, f"the mail waits: {error}")
            return
        inner = replace(step, source="include", path=(*step.path, path), owner=step.owner or step.own)
        for number, line in lines:
            self._each(node, destinations(line), inner, (":include:", f"{path}:{number}", ""))

    # The tree

    def _place(self, rule: Rule) -> str:
        if ":" not in rule.name:
            return str(rule.origin) if rule.origin.file else ""
        return self._places.shown(Found("", rule.argument, rule.name, rule.origin if rule.origin.line else None))

    def _child(self, node: Node, text: str, how: str, place: str) -> Node:
        child = Node(text, how, place)
        node.children.append(child)
        self._count += 1
        return child

    def _limited(self, node: Node, step: _Step) -> bool:
        if self._count > MOST_NODES:
            node.note = f"more than {MOST_NODES} steps: not followed"
        elif len(step.path) > DEPTH or step.depth > _MOST_DEPTH:
            node.note = f"more than {DEPTH} aliases within aliases: the mail bounces"
        return bool(node.note)


def _local(address: str) -> str:
    local, at, _ = address.rpartition("@")
    return local if at else address
