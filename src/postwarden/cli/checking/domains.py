"""A domain in two address classes: the first one counts, and what is configured for the other is never looked at."""

from collections.abc import Iterator

from postwarden.cli.checking.findings import Finding, warning
from postwarden.cli.checking.rows import elements
from postwarden.config.settings import Settings
from postwarden.mail.decision import Origin

_PAIRS = (
    ("mydestination", "virtual_alias_domains"),
    ("mydestination", "virtual_mailbox_domains"),
    ("virtual_alias_domains", "virtual_mailbox_domains"),
    ("virtual_alias_domains", "relay_domains"),
    ("virtual_mailbox_domains", "relay_domains"),
)
"""In the order in which they are asked. mydestination within relay_domains is a default of old."""


def findings(settings: Settings) -> Iterator[Finding]:
    lists = {name: domains_of(settings, name) for pair in _PAIRS for name in pair}
    for first, second in _PAIRS:
        for domain in sorted(lists[first].keys() & lists[second].keys()):
            where = lists[first][domain]
            origin = lists[second][domain]
            if where.file and not origin.file:
                where, origin = origin, where
            yield warning(
                origin,
                what=f"do not list domain {domain} in BOTH {first} and {second}",
                why=f"{first} counts{f' ({where})' if where.file else ''}: nothing that is configured for {second}"
                " holds for this domain",
                cure="take it out of one of them",
            )


def domains_of(settings: Settings, name: str) -> dict[str, Origin]:
    """The domains that a list names. An address is none: virtual_alias_domains is $virtual_alias_maps by default."""
    found: dict[str, Origin] = {}
    for element, origin in elements(settings, name):
        domain = element.lower()
        if domain and "@" not in domain and domain[0] not in ".*[/" and "." in domain:
            found.setdefault(domain, origin)
    return found
