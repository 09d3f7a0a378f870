"""A final recipient's way out: class, transport, next hop, hosts, protection, and what becomes of the mail.

Nothing is decided here: the gateway's own objects are asked, and what they answer is put beside what it came from.
"""

from collections.abc import Callable, Iterator
from typing import Any, cast

from msgspec import Struct

from postwarden.addressing.resolve import AddressClass, AddressResolver, Resolved, cause
from postwarden.config.parameters import find
from postwarden.config.settings import Service, Settings
from postwarden.deliver.discard import discard
from postwarden.deliver.error import error
from postwarden.explain.places import Places
from postwarden.mail.decision import BUILT_IN, Decision, Origin, Rule
from postwarden.mail.remade import Remade
from postwarden.policy.listed import Listed
from postwarden.policy.question import Marks, Question, Subject
from postwarden.tables.table import Found, TableError

_DOMAINS = "mydestination, virtual_alias_domains, virtual_mailbox_domains, relay_domains"
_CLASS_BY = {
    AddressClass.LOCAL: "mydestination",
    AddressClass.VIRTUAL_ALIAS: "virtual_alias_domains",
    AddressClass.VIRTUAL_MAILBOX: "virtual_mailbox_domains",
    AddressClass.RELAY: "relay_domains",
}


class Reason(Struct, frozen=True):
    """One thing that made it so."""

    text: str
    origin: Origin = BUILT_IN
    """Where it is written; BUILT_IN: nowhere, it is the default."""


class Fate(Struct, frozen=True):
    """What becomes of mail to a final recipient."""

    word: str
    """sent, delivered, bounced, deferred, discarded, unknown."""
    why: Reason
    cure: str = ""
    """What to change, where mail does not get there."""

    @property
    def good(self) -> bool:
        return self.word in ("sent", "delivered")


class Route(Struct, frozen=True):
    """A final recipient, and the way to it."""

    recipient: str
    address_class: str
    transport: str
    nexthop: str
    reasons: tuple[Reason, ...]
    """Routing by the address itself, class, transport, master.cf entry, names for the outside, in this order."""
    fate: Fate
    hosts: tuple[str, ...] = ()
    """In the order in which they would be tried: `mx.example.com[192.0.2.1]:25`."""
    tls: Reason | None = None
    """Of a transport that goes over the network: how it is protected."""


class Way(Struct, frozen=True):
    """What a transport says of a next hop: the end of the way, where it is known."""

    fate: Fate
    hosts: tuple[str, ...] = ()
    tls: Reason | None = None


Ask = Callable[[str, str, str], Way]
"""What the service of master.cf that is a transport, a next hop and a recipient come to."""
Outward = Callable[[Service, tuple[str, ...]], tuple[Remade, ...]]
"""What a transport makes of envelope addresses, for other servers."""


class Router:
    """Raises nothing for any address: what can't be known is a part of the answer."""

    def __init__(
        self,
        settings: Settings,
        resolver: AddressResolver,
        listed: Listed,
        places: Places,
        ask: Ask,
        outward: Outward = lambda service, addresses: (),
        *,
        prober: AddressResolver | None = None,
    ) -> None:
        """`prober`: of address probes, where those have a way of their own."""
        self._settings = settings
        self._outward = outward
        self._resolver = resolver
        self._listed = listed
        self._places = places
        self._ask = ask
        self._prober = prober

    def route(self, recipient: str, sender: str | None = None) -> Route:
        """`recipient` is one that nothing more is made of. Without a sender, what depends on it is left out."""
        try:
            whose = None if sender is None else self._resolver.rewrite(sender)
            resolved = self._resolver.resolve(recipient, whose)
        except TableError as fault:
            return Route(recipient, "", "", "", (), _put_off(fault))
        way = self._end(resolved)
        reasons = (*self._reasons(recipient, resolved), *self._names(resolved, whose), *self._probes(resolved))
        return self._route(resolved, reasons, way)

    def here(self, recipient: str) -> Route:
        """Of one that local delivery takes: the rest of the way is the tree's."""
        try:
            resolved = self._resolver.resolve(recipient)
        except TableError as fault:
            return Route(recipient, "", "", "", (), _put_off(fault))
        end = Way(Fate("delivered", Reason("by local delivery, as the tree shows")))
        return self._route(resolved, self._reasons(recipient, resolved), end)

    def _route(self, resolved: Resolved, reasons: tuple[Reason, ...], way: Way) -> Route:
        return Route(
            resolved.recipient, resolved.address_class.value, resolved.transport, resolved.nexthop, reasons,
            way.fate, way.hosts, way.tls,
        )  # fmt: skip

    def _reasons(self, recipient: str, resolved: Resolved) -> tuple[Reason, ...]:
        routed = [
            Reason(f"{before or '<>'} is {after}, by {parameter}", self._origin(parameter))
            for parameter, before, after in self._resolver.unrouted(recipient)
        ]
        reasons = (*routed, self._class(resolved), self._transport(resolved))
        service = self._settings.find_service(resolved.transport)
        if service is None or resolved.bad:
            return reasons
        return (*reasons, Reason(f"service {service.key}: {service.command}", service.origin))

    def _names(self, resolved: Resolved, sender: str | None) -> Iterator[Reason]:
        """What other servers will see."""
        service = self._settings.find_service(resolved.transport)
        if service is None or service.command not in ("smtp", "lmtp"):
            return
        try:
            steps = self._outward(service, (*filter(None, (sender,)), resolved.recipient))
        except TableError as fault:
            yield Reason(f"{fault}: mail is put off while the table can't answer")
            return
        for step in steps:
            text = f"other servers see {step.before} as {step.after[0]}, by {step.parameter}: {step.rule.name}"
            yield self._at(f"{text} has {step.rule.argument}", step.rule)

    def _probes(self, resolved: Resolved) -> Iterator[Reason]:
        """What address verification asks instead."""
        if self._prober is None:
            return
        sender = self._settings.text("address_verify_sender")
        try:
            probed = self._prober.resolve(resolved.recipient, self._prober.rewrite(sender) if sender != "<>" else "")
        except TableError as fault:
            yield Reason(f"{fault}: address probes fail while the table can't answer")
            return
        if (probed.transport, probed.nexthop) == (resolved.transport, resolved.nexthop):
            return
        text = f"address probes go by {probed.transport}:{probed.nexthop}, by "
        name = "" if probed.table else self._for_probes(probed)
        if name:
            yield Reason(f"{text}{name} = {self._settings.text(name) or '(empty)'}", self._origin(name))
        else:
            yield self._because(probed, text + cause(probed))

    def _for_probes(self, probed: Resolved) -> str:
        """The setting of probes' own that sends them there; empty: none does."""
        prefix = "address_verify_"
        for name in (f"{prefix}{cause(probed)}", f"{prefix}relayhost"):
            usual = name.removeprefix(prefix)
            if find(name) is not None and self._settings.text(name) != self._settings.text(usual):
                return name
        return ""

    def _end(self, resolved: Resolved) -> Way:
        if resolved.bad:
            return Way(Fate("bounced", Reason("no mail can be sent to such an address"), "write another address"))
        service = self._settings.find_service(resolved.transport)
        if service is None or service.type == "inet":
            why = self._because(resolved, f"no transport {resolved.transport} in master.cf: mail waits")
            cure = f"add a line for {resolved.transport} to master.cf, or {_other(resolved)}"
            return Way(Fate("deferred", why, cure))
        if service.command == "error":
            return Way(self._refused(resolved, service.name))
        if service.command == "discard":
            why = self._because(resolved, discard(resolved.nexthop).text)
            return Way(Fate("discarded", why, _other(resolved)))
        refused = self._unlisted(resolved.recipient)
        return self._ask(service.key, resolved.nexthop, resolved.recipient) if refused is None else Way(refused)

    def _refused(self, resolved: Resolved, service: str) -> Fate:
        status = error(resolved.nexthop, service if service in ("error", "retry") else "error")
        word = "deferred" if status.code[0] == "4" else "bounced"
        if resolved.address_class is AddressClass.VIRTUAL_ALIAS and not resolved.table:
            why = Reason("virtual_alias_maps does not have it", self._origin("virtual_alias_maps"))
            return Fate(word, why, "add the address to a table of virtual_alias_maps")
        name = cause(resolved)
        value = self._settings.text(name) if find(name) is not None and not resolved.table else ""
        setting = f"{name} = {value}" if value else name
        text = f"{setting} sends it back: {status.code} ({status.text})"
        return Fate(word, self._because(resolved, text), _other(resolved))

    def _unlisted(self, recipient: str) -> Fate | None:
        """A client hears at once that nobody has the address; what got past it is bounced."""
        try:
            decision = self._refusal(recipient)
        except TableError as fault:
            return _put_off(fault)
        if decision is None or decision.reply is None:
            return None
        why = Reason(f"{decision.rule.name} does not have it: {decision.reply}", decision.rule.origin)
        return Fate("bounced", why, f"add it to {decision.rule.name}")

    def _refusal(self, recipient: str) -> Decision | None:
        # Of the session, only the recipient is looked at.
        question = Question(cast(Any, None), Subject.RECIPIENT, Marks(), recipient)
        return self._listed.check(question, recipient)

    def _class(self, resolved: Resolved) -> Reason:
        name = _CLASS_BY.get(resolved.address_class)
        domain = resolved.recipient.rpartition("@")[2]
        if name is None:
            return Reason(f"class default: {domain} is in none of {_DOMAINS}")
        return Reason(f"class {resolved.address_class.value}: {domain} is in {name}", self._origin(name))

    def _transport(self, resolved: Resolved) -> Reason:
        text = f"transport {resolved.transport}:{resolved.nexthop}, by {cause(resolved) or 'its syntax'}"
        return self._because(resolved, text)

    def _because(self, resolved: Resolved, text: str) -> Reason:
        """`text`, at the line that chose the transport."""
        if not resolved.table:
            return Reason(text, self._origin(cause(resolved)))
        rule = resolved.rule
        return self._at(f"{text}: {rule.name} has {rule.argument}", rule)

    def _at(self, text: str, rule: Rule) -> Reason:
        """`text`, at the line of a table's entry."""
        place = self._places.of(Found("", rule.argument, rule.name))
        return Reason(text, place if place.line else rule.origin)

    def _origin(self, name: str) -> Origin:
        return self._settings.origin(name) if find(name) is not None else BUILT_IN


def _put_off(fault: TableError) -> Fate:
    return Fate("deferred", Reason(f"{fault}: mail is put off while the table can't answer"), "mend the table")


def _other(resolved: Resolved) -> str:
    """What to change so that another transport gets it."""
    name = cause(resolved)
    if resolved.table:
        return f"change its entry in {name}"
    parameter = find(name)
    return f"change {name}" + (f"; its default is {parameter.default}" if parameter is not None else "")
