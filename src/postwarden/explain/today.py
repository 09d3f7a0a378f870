"""A step that an address once took, asked again of the configuration as it is now."""

from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from postwarden.addressing.aliases import destinations
from postwarden.addressing.params import RewriteParams
from postwarden.addressing.rewrite import Rewriter
from postwarden.addressing.senders import RELAYHOSTS, TRANSPORTS
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.content.canonical import Masquerade
from postwarden.content.mapping import Mapper
from postwarden.content.params import ContentParams, GenericParams
from postwarden.content.standard import Standard
from postwarden.deliver.local.lists import AliasTables
from postwarden.deliver.local.params import LocalParams
from postwarden.deliver.local.tables import open_tables
from postwarden.explain.gateway import Gateway
from postwarden.explain.opening import open_places, profile_key
from postwarden.explain.places import INDEXED
from postwarden.mail.decision import BUILT_IN, Pending, Rule
from postwarden.mail.remade import MOST_RESULTS, Remade, Remaking
from postwarden.tables.maps import Maps
from postwarden.tables.opening import Tables
from postwarden.tables.table import Found, TableError

_CANONICAL = ("canonical_maps", "sender_canonical_maps", "recipient_canonical_maps")
_COPIES = ("sender_bcc_maps", "recipient_bcc_maps")
_GENERIC = {"smtp_generic_maps": "smtp", "lmtp_generic_maps": "lmtp"}
_ROUTES = frozenset(("transport_maps", "relocated_maps", TRANSPORTS, RELAYHOSTS))
_STANDARD = frozenset(("append_at_myorigin", "append_dot_mydomain", "swap_bangpath", "allow_percent_hack"))


class Now(Struct, frozen=True):
    """What would become of the address."""

    after: tuple[str, ...]
    """The address alone where nothing is done to it."""
    rule: Rule | None = None
    """What does it; of an indexed table, its origin is the line of the source as it is."""
    fault: str = ""
    """Why nobody can say."""


def lined(rule: Rule) -> bool:
    """Its origin is where it is written; False: of a table without lines, it is none, or the parameter's."""
    kind, colon, path = rule.name.removeprefix("proxy:").partition(":")
    return not colon or (bool(rule.origin.line) and (kind not in INDEXED or rule.origin.file.endswith(path)))


class Today:
    """Each part is opened when somebody asks for it: a table that is broken now spoils no other answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._places = open_places(settings)
        self._remaking = Remaking()
        self._opened: dict[str, Maps] = {}

    def of(self, step: Remade, sender: str) -> Now | None:
        """None: what did it can't be asked again. `sender`: of the message, as it was stored."""
        self._remaking.taken()
        try:
            after = self._after(step, sender)
        except (TableError, Pending) as error:
            return Now((), None, f"{error}" or "the table is asked over a network")
        if after is None:
            return None
        by = next(iter(self._remaking.taken()), None)
        rule = None if by is None else by.rule
        return Now(after[:MOST_RESULTS], None if rule is None else self.placed(rule))

    def placed(self, rule: Rule) -> Rule:
        """With the line of an indexed table's source."""
        if lined(rule):
            return rule
        return Rule(rule.name, rule.argument, self._places.of(Found("", rule.argument, rule.name)))

    def _after(self, step: Remade, sender: str) -> tuple[str, ...] | None:
        name, before = step.parameter, step.before
        if name in _CANONICAL:
            classes: tuple[str, ...] = getattr(self._content(), name.replace("_maps", "_classes"))
            found = self._mapped(name, before, "canonical") if step.place in classes else None
            return (before,) if not found else found[:1]
        if name == "virtual_alias_maps":
            return self._mapped(name, before, "virtual") or (before,)
        if name in _COPIES:
            return self._copy(name, before)
        if name in _GENERIC:
            return (self._mapped(name, before, "generic") or (before,))[:1]
        if name == "masquerade_domains":
            return (self._masqueraded(before),) if step.place in self._content().masquerade_classes else (before,)
        if name in _STANDARD:
            return self._standard(step)
        if name in _ROUTES:
            return self._route(before, sender)
        if name == "alias_maps":
            return self._alias(before)
        if name == "always_bcc":
            return tuple(filter(None, (self._content().always_bcc,)))
        return None

    @cached_property
    def _gateway(self) -> Gateway:
        return Gateway(self._settings)

    @cached_property
    def _tables(self) -> Tables:
        return Tables.of(self._settings)

    @cached_property
    def _aliases(self) -> AliasTables:
        settings = self._settings
        service = next((s.key for s in settings.services if s.command == "local" and s.type != "inet"), "")
        return open_tables(settings, service, view(LocalParams, settings, service), self._tables).aliases

    def _content(self) -> ContentParams:
        return view(ContentParams, self._settings, profile_key(self._settings))

    def _mapper(self, key: str) -> Mapper:
        settings = self._settings
        params = view(GenericParams, settings, key)
        rewriter = Rewriter(view(RewriteParams, settings))
        ours, signs = self._gateway.by_name_alone, params.recipient_delimiter
        return Mapper(rewriter.rewrite, ours, signs, remaking=self._remaking)

    def _mapped(self, name: str, before: str, kind: str) -> tuple[str, ...]:
        settings = self._settings
        key = self._key(name)
        propagate = kind in view(GenericParams, settings, key).propagate_unmatched_extensions
        maps = self._maps(name, key)
        return tuple(self._mapper(key).targets(maps, before, propagate=propagate, parameter=name) or ())

    def _copy(self, name: str, before: str) -> tuple[str, ...]:
        key = self._key(name)
        copy = self._mapper(key).first(self._maps(name, key), before, parameter=name)
        return () if copy is None else (copy,)

    def _maps(self, name: str, key: str) -> Maps:
        known = self._opened.get(name)
        if known is None:
            settings = self._settings
            known = self._tables.maps(settings.items(name, key), settings.origin(name, key))
            self._opened[name] = known
        return known

    def _key(self, name: str) -> str:
        command = _GENERIC.get(name)
        if command is None:
            return profile_key(self._settings)
        return next((s.key for s in self._settings.services if s.command == command and s.type != "inet"), "")

    def _masqueraded(self, before: str) -> str:
        key = profile_key(self._settings)
        origin = self._settings.origin
        exceptions, domains = origin("masquerade_exceptions", key), origin("masquerade_domains", key)
        return Masquerade(self._content(), self._tables, exceptions, domains=domains, remaking=self._remaking)(before)

    def _standard(self, step: Remade) -> tuple[str, ...]:
        params, appended = view(RewriteParams, self._settings), ""
        if step.rule.name == "remote_header_rewrite_domain":
            appended, domain = step.rule.name, self._settings.text(step.rule.name)
            if not domain:
                return (step.before,)
            params = replace(params, myorigin=domain, mydomain=domain)
        rewriter = Rewriter(params)
        found = [after for parameter, before, after in rewriter.steps(step.before) if before == step.before]
        Standard(rewriter.rewrite, rewriter, self._remaking, self._written, appended)(step.before)
        return tuple(found[:1]) or (step.before,)

    def _written(self, name: str) -> Rule:
        return Rule(name, self._settings.text(name), self._settings.origin(name))

    def _route(self, before: str, sender: str) -> tuple[str, ...]:
        resolved = self._gateway.resolver.resolve(before, sender)
        way = (f"{resolved.transport}:{resolved.nexthop}",)
        self._remaking.note(resolved.table or "default", before, way, resolved.rule)
        return way

    def _alias(self, before: str) -> tuple[str, ...]:
        found = self._aliases.find(before)
        if found is None:
            return ()
        after = tuple(map(str, destinations(found.value)))
        self._remaking.note("alias_maps", before, after, Rule(found.table, found.key, found.origin or BUILT_IN))
        return after
