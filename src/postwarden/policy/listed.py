"""Is the address one that exists: reject_unlisted_recipient, reject_unlisted_sender (ADDRESS_CLASS_README).

Unknown recipients are refused while the client is still there: a bounce later would go to a forged sender.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from postwarden.mail.decision import BUILT_IN, Decision, Fact, Origin, Rule
from postwarden.policy.params import PolicyParams
from postwarden.policy.question import Question, Subject, refused
from postwarden.tables.maps import Maps

_MAPS = ("local_recipient_maps", "virtual_mailbox_maps", "relay_recipient_maps")
_STATUS = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})\s+")
_SENDER_STATUS: Mapping[str, str] = MappingProxyType(
    {"5.1.1": "5.1.7", "5.1.2": "5.1.8", "5.1.3": "5.1.7", "5.1.6": "5.1.7"}
)


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

    def resolve(self, address: str, sender: str | None = None) -> Resolution: ...

    def rewrite(self, address: str) -> str: ...

    def by_name_alone(self, domain: str) -> bool: ...


class Tables(Protocol):
    def maps(self, names: tuple[str, ...], origin: Origin) -> Maps: ...


class Listed:
    """The tables of the address classes, opened once."""

    def __init__(
        self, params: PolicyParams, tables: Tables, resolver: Resolver, origin: Callable[[str], Origin]
    ) -> None:
        """`origin` says where a parameter was written. Raises ConfigError."""
        self._params = params
        self._resolver = resolver
        # Bounces come from the first and the last; the second must be heard (RFC 5321 4.5.1).
        self._always = frozenset((params.double_bounce_sender.lower(), "postmaster", "mailer-daemon"))
        self._origins = {name: origin(name) for name in _MAPS}

        def maps(name: str) -> Maps:
            return tables.maps(getattr(params, name), origin(name))

        everywhere = (maps("recipient_canonical_maps"), maps("canonical_maps"), maps("virtual_alias_maps"))
        # Mail to a sender would be rewritten as any other.
        self._rewritten = {
            Subject.RECIPIENT: everywhere,
            Subject.SENDER: (maps("sender_canonical_maps"), *everywhere),
        }
        self._classes = {
            kind: (name, maps(name), table, code)
            for kind, name, table, code in (
                ("local", _MAPS[0], "local recipient", params.unknown_local_recipient_reject_code),
                ("virtual mailbox", _MAPS[1], "virtual mailbox", params.unknown_virtual_mailbox_reject_code),
                ("relay", _MAPS[2], "relay recipient", params.unknown_relay_recipient_reject_code),
            )
        }

    def check(self, question: Question, address: str, other: str | None = None) -> Decision | None:
        """A refusal when nobody has the address; None when somebody does, or when there is no table to ask. `other`:
        who would write to it, the sender to a recipient, the recipient back to a sender; None: whoever.
        `question.subject` is SENDER or RECIPIENT. Raises TableError and Pending."""
        if not address:
            return None
        resolved = self._resolver.resolve(address, other and self._resolver.rewrite(other))
        recipient = resolved.recipient
        for maps in self._rewritten[question.subject]:
            if maps and self._find(maps, recipient):
                return None
        if resolved.transport in ("error", "retry"):
            return self._undeliverable(question, resolved)
        known = self._classes.get(resolved.address_class.value)
        if known is None or not known[1]:
            return None
        name, maps, table, code = known
        if name == "local_recipient_maps" and recipient.rpartition("@")[0].lower() in self._always:
            return None
        return None if self._find(maps, recipient) else self._unknown(question, Rule(name, "", BUILT_IN), code, table)

    def check_recipient(self, question: Question) -> Decision | None:
        """The recipient in question, once an evaluation."""
        if question.marks.listed or question.recipient is None:
            return None
        question.marks.listed = True
        return self.check(question.about(Subject.RECIPIENT), question.recipient, question.facts.sender or "")

    def _find(self, maps: Maps, address: str) -> bool:
        return maps.find_address(address, self._params.recipient_delimiter, self._resolver.by_name_alone) is not None

    def _undeliverable(self, question: Question, resolved: Resolution) -> Decision:
        """The next hop of error: and retry: is what to say of the address."""
        retry = resolved.transport == "retry"
        alias = resolved.address_class.value == "virtual alias"
        code = 450 if retry else self._params.unknown_virtual_alias_reject_code if alias else 550
        given = _STATUS.match(resolved.nexthop)
        status = given[1] if given else "4.3.0" if retry else "5.1.1"
        if question.subject is Subject.SENDER:
            status = _SENDER_STATUS.get(status, status) if given else "5.1.0"
        text = resolved.nexthop[given.end() :] if given else resolved.nexthop
        return refused(question, resolved.rule, code, status, text)

    def _unknown(self, question: Question, rule: Rule, code: int, table: str) -> Decision:
        rule = Rule(rule.name, rule.argument, self._origins[rule.name])
        text = f"User unknown in {table} table" if self._params.show_user_unknown_table_name else "User unknown"
        status = "5.1.0" if question.subject is Subject.SENDER else "5.1.1"
        return refused(question, rule, code, status, text, fact=Fact(rule.name, question.name, "none"))
