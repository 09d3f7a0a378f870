"""What an operator should hear of a configuration and its tables before they are used."""

import re
from collections.abc import Iterator

from postwarden.config.check import problems as config_problems
from postwarden.config.errors import ConfigError, Problem
from postwarden.config.parameters import TABLE, Kind, Standing, standing
from postwarden.config.settings import Settings
from postwarden.config.values import split
from postwarden.mail.decision import Origin
from postwarden.tables.combined import leaves
from postwarden.tables.indexed import CompiledTable
from postwarden.tables.literal import UnusableTable
from postwarden.tables.matching import MatchList
from postwarden.tables.opening import LITERAL, NOT_HERE, SENSITIVE, Tables, warnings
from postwarden.tables.source import SourceTable

MATCH_LISTS = ("mynetworks", "mydestination", "relay_domains", "virtual_alias_domains", "virtual_mailbox_domains")

_NOT_ASKED = frozenset(("address_verify_map", "postscreen_cache_map", "proxy_read_maps", "proxy_write_maps"))
"""Memories of what was found out, which have no file before their first use, and lists of tables that others name."""

_FATAL = "daemon_table_open_error_is_fatal"
_PUT_OFF = ": what needs it will be put off"
_TYPED = re.compile(
    r"(?:proxy:)?(?:hash|btree|dbm|lmdb|cdb|texthash|regexp|pcre|cidr|unix|inline|static|sqlite|unionmap|pipemap|randmap|environ|fail|debug"
    r"|tcp|socketmap|memcache|mysql|pgsql|ldap)"
    r":\S.*"
)


def problems(settings: Settings) -> list[Problem]:
    """Everything wrong or strange in main.cf, master.cf and the tables that they name: errors, then it can't be
    started, and warnings."""
    found = config_problems(settings)
    try:
        tables = Tables.of(settings)
    except ConfigError:
        return found  # config.check has said it
    seen: set[tuple[str, str]] = set()
    for service in ("", *(s.key for s in settings.services if s.overrides)):
        for name in TABLE:
            if not service or settings.find_override(name, service):
                found += _parameter(settings, name, service, tables, seen)
    return list(dict.fromkeys(found))


def _parameter(
    settings: Settings, name: str, service: str, tables: Tables, seen: set[tuple[str, str]]
) -> Iterator[Problem]:
    kind = TABLE[name].kind
    if kind not in (Kind.MAPS, Kind.LIST) or name in _NOT_ASKED:
        return
    try:
        items = split(settings.text(name, service))
    except (ConfigError, ValueError):
        return  # config.check has said it
    origin = settings.origin(name, service)
    status = standing(TABLE[name])[0]
    works = status is Standing.WORKS
    if status is Standing.NO_EFFECT or not (works or settings.entry(name, service)):
        return
    if settings.entry(name, service) is None and _copied(TABLE[name].default):
        return  # said of the parameter whose tables these are
    if name in MATCH_LISTS:
        yield from _match_list(name, items, origin, tables)
        return
    for before, item in zip(("", *items), items, strict=False):
        if before.lower() == "check_policy_service":
            continue  # unix:private/policy is a socket there
        if (kind is Kind.MAPS or _TYPED.fullmatch(item)) and (item, name) not in seen:
            seen.add((item, name))
            found = _table(name, item, origin, tables, works=works, sensitive=_sensitive(settings, name))
            yield from _fatal(found) if works and settings.value(_FATAL, service) else found


def _fatal(found: Iterator[Problem]) -> Iterator[Problem]:
    """daemon_table_open_error_is_fatal: a table that can't be opened stops the start, and nothing is put off."""
    for problem in found:
        text = problem.text.removesuffix(_PUT_OFF)
        yield problem if text == problem.text else Problem(problem.origin, "error", f"{text} ({_FATAL} = yes)")


def _copied(default: str) -> bool:
    other = TABLE.get(default.removeprefix("$")) if default.startswith("$") else None
    return other is not None and other.kind is Kind.MAPS and standing(other)[0] is Standing.WORKS


def _match_list(name: str, items: tuple[str, ...], origin: Origin, tables: Tables) -> Iterator[Problem]:
    try:
        yield from MatchList(name, items, tables, origin).problems
    except ConfigError as error:
        yield Problem(error.origin, "error", error.text if name in error.text else f"parameter {name}: {error.text}")


def _sensitive(settings: Settings, name: str) -> bool:
    """Who has another program deliver asks virtual_mailbox_maps only whether there is such a mailbox."""
    ours = settings.text("virtual_transport").partition(":")[0] == "virtual"
    return name in SENSITIVE and (ours or name != "virtual_mailbox_maps")


def _table(name: str, item: str, origin: Origin, tables: Tables, *, works: bool, sensitive: bool) -> Iterator[Problem]:
    """A table of a parameter that does nothing yet can't stop the start."""
    try:
        table = tables.table(item, origin, literal=name in LITERAL, sensitive=sensitive)
    except ConfigError as error:
        at_fault = works or error.origin != origin or item.partition(":")[0] not in NOT_HERE
        severity = "error" if at_fault else "warning"
        yield Problem(error.origin, severity, f"parameter {name}: {error.text}")
        return
    yield from warnings(table)
    for leaf in leaves(table):
        if isinstance(leaf, SourceTable) and leaf.fault:
            put_off = _PUT_OFF if works else ""
            yield Problem(origin, "warning", f"parameter {name}: {leaf.fault}{put_off}")
        if isinstance(leaf, UnusableTable):
            yield Problem(origin, "warning", f"parameter {name}: {leaf.why}{_PUT_OFF}")
        if isinstance(leaf, CompiledTable) and leaf.outdated():
            yield Problem(
                origin, "warning", f"{leaf.name}: the index is older than its source: run postmap or postalias"
            )
