"""What an owner's entry may say: its name, and each of its targets."""

from fnmatch import fnmatchcase

from postwarden.addressing.aliases import Destination, Kind
from postwarden.addressing.resolve import AddressClass
from postwarden.explain.gateway import Gateway, within
from postwarden.explain.leads import Entry
from postwarden.federation.entries import rendered_address, rendered_name, rendered_targets
from postwarden.federation.sources import Source


def objections(entry: Entry, source: Source, gateway: Gateway, *, virtual: bool) -> list[str]:
    """Why the entry must not count; empty: it may. `virtual`: there is a table for entries `user@domain`.

    One target that is not permitted spoils the entry: half of a list is not what its owner meant. Raises TableError.
    """
    found = _of_name(entry, source, gateway, virtual=virtual)
    for target in entry.targets:
        text = _of_target(entry, target, source, gateway)
        if text:
            found.append(text)
    if not entry.targets:
        found.append(f"{entry.name}: nobody is behind this name")
    if not found:
        try:
            (rendered_address if entry.virtual else rendered_name)(entry.name)
            rendered_targets(entry.targets)
        except ValueError as error:
            found.append(f"{entry.name}: {error}")
    return found


def may_define(name: str, source: Source, gateway: Gateway) -> bool:
    """`owner-list` and `list-request` belong to whom `list` belongs, and `list+box` is a part of `list`."""
    bare = name.removeprefix("owner-").removesuffix("-request")
    if name in source.names or bare in source.names:
        return True
    if any(gateway.reserved(part) for part in (*gateway.names_of(name), *gateway.names_of(bare))):
        return False
    return any(fnmatchcase(name, pattern) or fnmatchcase(bare, pattern) for pattern in source.names)


def _of_name(entry: Entry, source: Source, gateway: Gateway, *, virtual: bool) -> list[str]:
    name = entry.name
    if not entry.virtual:
        return [] if may_define(name, source, gateway) else [f"{name}: {source.name} may not define this name"]
    if not virtual:
        return [f"{name}: an alias has no domain, and virtual_table is not set"]
    local, _, domain = name.rpartition("@")
    if not within(domain, source.domains):
        return [f"{name}: {source.name} may not define addresses of {domain}"]
    if gateway.local_domain(domain) and not (local and may_define(local, source, gateway)):
        return [f"{name}: {source.name} may not define this name of this gateway"]
    if any(target.kind is not Kind.ADDRESS or target.value.startswith("\\") for target in entry.targets):
        return [f"{name}: only an alias without a domain may have files, commands and lists"]
    return []


def _of_target(entry: Entry, target: Destination, source: Source, gateway: Gateway) -> str:
    """Empty: it is permitted."""
    value = target.value
    match target.kind:
        case Kind.COMMAND:
            return "" if value in source.commands else f"{entry.name}: {source.name} may not run a command: |{value}"
        case Kind.FILE:
            fine = _path_fits(value, source.files)
            return "" if fine else f"{entry.name}: {source.name} may not have mail written to {value}"
        case Kind.INCLUDE:
            fine = _path_fits(value, source.includes)
            return "" if fine else f"{entry.name}: {source.name} may not include {value}"
    if not value or value in ("\\", "@"):
        return f"{entry.name}: an empty address"
    resolved = gateway.resolve(value)
    if resolved.bad:
        return f"{entry.name}: no address: {value}"
    # What the address means after `%` and `!` were followed decides, not what it looks like.
    domain = resolved.recipient.rpartition("@")[2]
    if resolved.address_class is AddressClass.LOCAL or within(domain, source.hosts + source.domains):
        return ""
    return f"{entry.name}: {value} is at {domain}, which is none of the hosts of {source.name}"


def _path_fits(path: str, patterns: tuple[str, ...]) -> bool:
    """`*` in a pattern covers names, and directories below; `..` in a path is never right."""
    return path.startswith("/") and ".." not in path.split("/") and any(fnmatchcase(path, p) for p in patterns)
