"""What lets strangers relay: lists that refuse nobody, or let forged names through; destinations without bounds."""

import re
from collections.abc import Iterator
from itertools import pairwise

from postwarden.cli.checking.advice import advised
from postwarden.cli.checking.findings import Finding, error, note, warning
from postwarden.cli.checking.rows import elements, items, rows
from postwarden.cli.checking.trust import foreign, network
from postwarden.config.errors import Problem
from postwarden.config.settings import Settings

CLOSING = ("reject_unauth_destination", "defer_unauth_destination", "reject", "defer", "defer_if_permit")
"""What keeps strangers from relaying, unless `permit` comes before it or warn_if_reject right before."""
_LISTS = ("smtpd_relay_restrictions", "smtpd_recipient_restrictions")
_FORGED = frozenset(("check_sender_access", "check_helo_access"))
_PERMITS = re.compile(r"(?:ok|permit|relay|[0-9]+)(?:\s.*)?", re.IGNORECASE | re.DOTALL)
_EVERYTHING = frozenset(("*", "/./", "/.*/", "/^.*$/", "/^/", "/.+/", "/^.+$/"))
"""Elements that match whatever they are asked for; a static: table shows itself as `*`."""
_NAME = re.compile(r"[a-z]{2,}")


def findings(settings: Settings) -> Iterator[Finding]:
    yield from _destinations(settings)
    yield from _impostors(settings, "")
    for service in settings.services:
        if service.command == "smtpd" and service.type != "unix":
            if settings.find_override("smtpd_authorized_xclient_hosts", service.key):
                yield from _impostors(settings, service.key)
            yield from _lists(settings, service.key)
    if settings.text("soft_bounce") == "yes" and settings.entry("soft_bounce"):
        yield note(
            settings.origin("soft_bounce"),
            what="soft_bounce = yes",
            why="nothing is refused or returned for good: senders and spammers try for days",
            cure="remove it after the test that it is meant for",
        )


def _impostors(settings: Settings, service: str) -> Iterator[Finding]:
    """Who may say XCLIENT is who he says he is, a friend in mynetworks too."""
    name = "smtpd_authorized_xclient_hosts"
    for element, where in elements(settings, name, service):
        net = network(element)
        if element == "*" or (net is not None and foreign(net)):
            yield error(
                where, what=f"{name}: {element} holds strangers",
                why="whoever may use XCLIENT passes for any client, one of mynetworks too: this is an open relay",
                cure="name single addresses of your own proxies or tests, or remove it",
            )  # fmt: skip


def _destinations(settings: Settings) -> Iterator[Finding]:
    """reject_unauth_destination lets mail to these pass from everybody."""
    parents = "relay_domains" in items(settings, "parent_domain_matches_subdomains")
    for element, where in elements(settings, "relay_domains"):
        if element in _EVERYTHING:
            yield error(
                where, what=f"relay_domains: {element} is every domain",
                why="this is an open relay: everybody may send to everybody through it",
                cure="name the domains that this machine takes mail for",
            )  # fmt: skip
        elif _above_all(element, parents=parents):
            yield warning(
                where, what=f"relay_domains: {element} holds every domain below it",
                why="everybody may send to all of them through this machine",
                cure="name the domains that this machine takes mail for",
            )  # fmt: skip


def _above_all(element: str, *, parents: bool) -> bool:
    """`.com`, and `com` where that means the same."""
    if element.startswith("."):
        return element.count(".") == 1
    return parents and _NAME.fullmatch(element) is not None and element not in ("localhost", "localdomain")


def _lists(settings: Settings, service: str) -> Iterator[Finding]:
    """Every list has its say: one clean list that ends in a refusal is enough."""
    faults: list[Finding] = []
    closed = False
    for name in _LISTS:
        words = flat(settings, name, service)
        closing = next((at for at, word in enumerate(words) if word == "permit" or _closes(words, at)), None)
        if closing is None or words[closing] == "permit":
            continue
        closed = True
        found = list(_forged(settings, name, service, words[:closing]))
        if not found:
            return
        faults += found
    if not closed:
        faults = [_open(settings, service)]
    yield from faults


def _open(settings: Settings, service: str) -> Finding:
    """In the judge's own words, so that it is said once."""
    origin = settings.origin(_LISTS[0], service)
    text = f"in parameter {' or '.join(_LISTS)}, specify at least one working instance of: {', '.join(CLOSING)}"
    return advised(Problem(origin, "error", text), settings)


def _closes(words: list[str], at: int) -> bool:
    return words[at] in CLOSING and (at == 0 or words[at - 1] != "warn_if_reject")


def flat(settings: Settings, name: str, service: str, depth: int = 0) -> list[str]:
    """The words of a list with its restriction classes replaced by theirs."""
    found: list[str] = []
    classes = items(settings, "smtpd_restriction_classes", service)
    for word in items(settings, name, service):
        if word in classes and depth < 20:
            found += flat(settings, word, service, depth + 1)
        else:
            found.append(word if ":" in word else word.lower())
    return found


def _forged(settings: Settings, name: str, service: str, words: list[str]) -> Iterator[Finding]:
    """Tables before the refusal that let strangers relay."""
    origin = settings.origin(name, service)
    for word, table in pairwise(words):
        if not word.startswith("check_") or not word.endswith("_access") or ":" not in table:
            continue
        for row in rows(settings, table, origin):
            if not _PERMITS.fullmatch(row.value):
                continue
            if row.key == "*":
                yield error(
                    origin, what=f"{name}: {word} {table} permits everybody, before anything is refused",
                    why="this is an open relay", cure="answer DUNNO instead of OK, or put it behind the refusal",
                )  # fmt: skip
            elif word in _FORGED:
                yield warning(
                    row.origin, what=f"{word} {table}: {row.key} {row.value} lets mail be relayed, by {name}",
                    why=f"anybody can claim that {'sender' if 'sender' in word else 'HELO name'}, and then send to"
                    " everybody through this machine",
                    cure=f"answer DUNNO, or use it in another list than {name}",
                )  # fmt: skip
                break
