"""Is the address one that exists: reject_unlisted_recipient, reject_unlisted_sender (ADDRESS_CLASS_README).

Unknown recipients are refused while the client is still there: a bounce later would go to a forged sender.
"""

from typing import Protocol

from postwarden.mail.decision import Decision, Fact, Rule
from postwarden.policy.params import PolicyParams
from postwarden.policy.question import Question, Subject, refused
from postwarden.tables.maps import Maps


class Resolution(Protocol):
    @property
    def address_class(self) -> "Class": ...
    @property
    def transport(self) -> str: ...
    @property
    def nexthop(self) -> str: ...
    @property
    def recipient(self) -> str: ...
    @property
    def rule(self) -> Rule: ...
    @property
    def routed(self) -> bool: ...


class Class(Protocol):
    @property
    def value(self) -> str: ...
    @property
    def final(self) -> bool: ...


class Resolver(Protocol):
    """`addressing.resolve`."""

    def resolve(self, address: str) -> Resolution: ...

    def local_domain(self, domain: str) -> bool: ...


class Tables(Protocol):
    def maps(self, names: tuple[str, ...]) -> Maps: ...


class Listed:
    """The tables of the address classes, opened once."""

    def __init__(self, params: PolicyParams, tables: Tables, resolver: Resolver) -> None:
        self._params = params
        self._resolver = resolver
        self._rewritten = {
            Subject.RECIPIENT: tables.maps(params.recipient_canonical_maps),
            Subject.SENDER: tables.maps(params.sender_canonical_maps),
        }
        self._everywhere = (tables.maps(params.canonical_maps), tables.maps(params.virtual_alias_maps))
        self._classes = {
            "local": ("local_recipient_maps", tables.maps(params.local_recipient_maps), "local recipient",
                      params.unknown_local_recipient_reject_code),
            "virtual mailbox": ("virtual_mailbox_maps", tables.maps(params.virtual_mailbox_maps), "virtual mailbox",
                                params.unknown_virtual_mailbox_reject_code),
            "relay": ("relay_recipient_maps", tables.maps(params.relay_recipient_maps), "relay recipient",
                      params.unknown_relay_recipient_reject_code),
        }  # fmt: skip

    def check(self, question: Question, address: str) -> Decision | None:
        """A refusal when nobody has the address; None when somebody does, or when there is no table to ask.
        `question.subject` is SENDER or RECIPIENT. Raises TableError and Pending."""
        if not address:
            return None
        resolved = self._resolver.resolve(address)
        recipient = resolved.recipient
        for maps in (self._rewritten[question.subject], *self._everywhere):
            if maps and self._find(maps, recipient):
                return None
        if resolved.transport == "error":
            return self._undeliverable(question, resolved)
        known = self._classes.get(resolved.address_class.value)
        if known is None or not known[1] or self._find(known[1], recipient):
            return None
        name, _, table, code = known
        return self._unknown(question, Rule(name, "", resolved.rule.origin), code, table)

    def _find(self, maps: Maps, address: str) -> bool:
        return maps.find_address(address, self._params.recipient_delimiter, self._resolver.local_domain) is not None

    def _undeliverable(self, question: Question, resolved: Resolution) -> Decision:
        code = self._params.unknown_virtual_alias_reject_code if resolved.address_class.final else 550
        status, _, text = resolved.nexthop.partition(" ")
        if not status[:1].isdigit():
            status, text = "5.1.1", resolved.nexthop
        if question.subject is Subject.SENDER and status == "5.1.1":
            status = "5.1.0"
        if resolved.address_class.value == "virtual alias" and not self._params.show_user_unknown_table_name:
            text = "User unknown"
        return refused(question, resolved.rule, code, status, text)

    def _unknown(self, question: Question, rule: Rule, code: int, table: str) -> Decision:
        text = f"User unknown in {table} table" if self._params.show_user_unknown_table_name else "User unknown"
        status = "5.1.0" if question.subject is Subject.SENDER else "5.1.1"
        decision = refused(question, rule, code, status, text)
        return Decision(decision.verdict, rule, (Fact(rule.name, question.name, "none"),), decision.reply)
