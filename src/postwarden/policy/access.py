"""access(5): which keys a table is asked for."""

from collections.abc import Callable, Iterable, Iterator

from postwarden.mail.decision import Decision, Fact, Rule, Verdict
from postwarden.policy.actions import Actions, Compile, Style
from postwarden.policy.listed import Resolver
from postwarden.policy.question import Misconfigured, Question, Restriction, Subject, refused
from postwarden.tables.keys import domain_keys, network_keys, split_extension
from postwarden.tables.maps import Maps
from postwarden.tables.table import Found, TableError

Keys = Callable[[Question], Iterable[Iterable[str]]]
"""One search after the other; each has a whole key first, and then parts of it, which patterns are not asked for."""
_FAULT = "Server configuration error"


def domain_and_parents(domain: str, style: Style) -> Iterator[str]:
    return domain_keys(domain, parents_by_dot=style.parents_by_dot)


def client_keys(style: Style) -> Keys:
    def keys(question: Question) -> Iterator[Iterable[str]]:
        client = question.facts.client
        # `unknown` too: tables have lines for clients without a name.
        yield domain_and_parents(client.name, style)
        yield network_keys(client.address)

    return keys


def reverse_client_keys(style: Style) -> Keys:
    def keys(question: Question) -> Iterator[Iterable[str]]:
        client = question.facts.client
        yield domain_and_parents(client.reverse_name, style)
        yield network_keys(client.address)

    return keys


def helo_keys(style: Style) -> Keys:
    return lambda question: (domain_and_parents(question.name, style),) if question.name else ()


def sender_keys(style: Style, resolver: Resolver) -> Keys:
    def keys(question: Question) -> Iterable[Iterable[str]]:
        sender = question.facts.sender
        if sender is None:
            return ()
        return (address_keys(resolver.resolve(sender).recipient, style) if sender else (style.null_key,),)

    return keys


def recipient_keys(style: Style, resolver: Resolver) -> Keys:
    def keys(question: Question) -> Iterable[Iterable[str]]:
        if not question.recipient:
            return ()
        return (address_keys(resolver.resolve(question.recipient).recipient, style),)

    return keys


def address_keys(address: str, style: Style) -> Iterator[str]:
    """`user+ext@domain`, `user@domain`, `domain` and its parents, `user+ext@`, `user@`."""
    yield address
    local, at, domain = address.rpartition("@")
    if not at:
        return
    bare, extension = split_extension(local, style.delimiters)
    if extension:
        yield f"{bare}@{domain}"
    yield from domain_and_parents(domain, style)
    yield f"{local}@"
    if extension:
        yield f"{bare}@"


class AccessCheck:
    """check_client_access and its sisters. `lists` turns an answer that is a list of restrictions into one."""

    def __init__(
        self, rule: Rule, maps: Maps, subject: Subject, style: Style, *, keys: Keys, resolver: Resolver, lists: Compile
    ) -> None:
        self._rule = rule
        self._maps = maps
        self._subject = subject
        self._style = style
        self._keys = keys
        self._resolver = resolver
        self._actions = Actions(rule, style, lists)

    def __call__(self, question: Question) -> Decision | None:
        about = question.about(self._subject)
        try:
            found = self.find(self._keys(about))
        except TableError as error:
            if all(error.table != table.name for table in self._maps.tables):
                raise
            key = next((key for keys in self._keys(about) for key in keys), "")
            about.marks.unanswered(self._rule, error.table, error.text, key)
            fact = Fact(error.table, "", error.text)
            return refused(about, self._rule, 451, "4.3.5", _FAULT, fact=fact)
        if found is None:
            return None
        decision = self._actions.act(about, found)
        if decision is not None and decision.verdict is Verdict.PERMIT and self._suspicious(about):
            return None
        return decision

    def find(self, searches: Iterable[Iterable[str]]) -> Found | None:
        """Raises TableError."""
        for keys in searches:
            found = self._maps.find_first(keys)
            if found is not None:
                return found
        return None

    def _suspicious(self, question: Question) -> bool:
        """A recipient that routes elsewhere (`user%elsewhere@here`) is never let in by the address that it shows."""
        if question.subject is not Subject.RECIPIENT or self._style.untrusted_routing or not question.recipient:
            return False
        return self._resolver.resolve(question.recipient).routed


def never_permits(rule: Rule, value: Callable[[Question], str], check: Restriction) -> Restriction:
    """For checks of what a client chooses or its owner publishes: an OK would open the door to anybody who knows of
    it."""

    def restriction(question: Question) -> Decision | None:
        decision = check(question)
        marks = question.marks
        if decision is None or decision.verdict is not Verdict.PERMIT or marks.discards:
            return decision
        marks.warn(rule, f"restriction {rule.name} returns OK for {value(question)}")
        marks.warn(rule, "this is not allowed for security reasons")
        marks.warn(rule, "use DUNNO instead of OK if you want to make an exception")
        raise Misconfigured(rule, *decision.facts)

    return restriction
