"""Tables: stale files beside them, files that the mail system may not read, loops, secrets that all may read."""

import os
import pwd
import stat
from collections.abc import Iterator

from postwarden.cli.checking.findings import Finding, error, warning
from postwarden.cli.checking.rows import INDEXED, elements, file_of, items, maps_rows, type_of
from postwarden.config.parameters import TABLE, Kind, Standing, standing
from postwarden.config.settings import Settings
from postwarden.mail.decision import Origin

_MOST = 200_000
"""Entries of aliases that are followed."""
_SECRET = frozenset(("smtp_sasl_password_maps", "lmtp_sasl_password_maps"))
_BY_ROOT = frozenset((
    "mailbox_command_maps", "mailbox_transport_maps", "fallback_transport_maps", "virtual_uid_maps",
    "virtual_gid_maps",
))  # fmt: skip
"""Only the agent, which is root, asks these."""
_REMOTE = frozenset(("mysql", "pgsql", "ldap", "memcache"))


def findings(settings: Settings) -> Iterator[Finding]:
    seen: set[str] = set()
    for name, item, origin in named(settings):
        if item in seen:
            continue
        seen.add(item)
        yield from _berkeley(settings, item, origin)
        yield from _readable(settings, name, item, origin)
        yield from _secret(settings, name, item, origin)
    yield from _loops(settings, "virtual_alias_maps")
    yield from _loops(settings, "alias_maps")


def named(settings: Settings) -> list[tuple[str, str, Origin]]:
    """(parameter, `type:name`, where) of each table that main.cf and master.cf name in a parameter or a list; those
    that a default took from another parameter at the end."""
    return sorted(_named(settings), key=lambda found: not found[2].file)


def _named(settings: Settings) -> Iterator[tuple[str, str, Origin]]:
    places = [("", name) for name in TABLE]
    places += [(service.key, name) for service in settings.services for name in service.overrides if name in TABLE]
    for service, name in places:
        if TABLE[name].kind not in (Kind.MAPS, Kind.LIST) or standing(TABLE[name])[0] is Standing.NO_EFFECT:
            continue
        for item in items(settings, name, service):
            if item[:1].isalpha() and ":" in item:
                yield name, item, settings.origin(name, service)


def _berkeley(settings: Settings, item: str, origin: Origin) -> Iterator[Finding]:
    """`X.db` is what Postfix reads of hash: and btree:, and what we never read."""
    file = file_of(settings, item)
    if type_of(item)[0] not in ("hash", "btree", "dbm") or not os.path.exists(f"{file}.db"):
        return
    source, ours = os.path.exists(file), os.path.exists(f"{file}.lmdb")
    if not source and not ours:
        yield error(
            origin, what=f"{item}: there is only {file}.db", why="Berkeley DB files are not read: every look-up is put"
            " off", cure=f"write its text to {file} with Postfix's own command: postmap -s {item}",
        )  # fmt: skip
    elif ours or (source and os.path.getmtime(file) > os.path.getmtime(f"{file}.db")):
        older = source and os.path.getmtime(file) > os.path.getmtime(f"{file}.db")
        beside = f"the index {file}.lmdb" if ours else "the text itself"
        yield warning(
            origin, what=f"{file}.db is {'older than its source' if older else 'beside an index of ours'}",
            why=f"{beside} is read here, and {file}.db never: Postfix would answer from it what was true once",
            cure=f"remove {file}.db, or keep it fresh with Postfix's postmap as long as Postfix runs, too",
        )  # fmt: skip


def _readable(settings: Settings, name: str, item: str, origin: Origin) -> Iterator[Finding]:
    """As root: whether mail_owner, which the mail system runs as, may read it."""
    if os.geteuid() != 0 or name in _BY_ROOT or name in _SECRET:
        return
    file = file_of(settings, item)
    if type_of(item)[0] in INDEXED:
        suffix = ".cdb" if type_of(item)[0] == "cdb" else ".lmdb"
        file = file + suffix if os.path.exists(file + suffix) else file
    if not file or not os.path.exists(file):
        return
    try:
        owner = pwd.getpwnam(settings.text("mail_owner"))
    except KeyError:
        return
    blocked = _blocked(file, owner)
    if blocked:
        yield error(
            origin, what=f"{item}: {owner.pw_name} may not read {blocked}", why="every look-up in it is put off",
            cure=f"chmod o+r{'x' if os.path.isdir(blocked) else ''} {blocked}, or give it to the group"
            f" {owner.pw_name}",
        )  # fmt: skip


def _blocked(file: str, user: pwd.struct_passwd) -> str:
    """The directory above, or the file, that `user` can't get past; empty: none."""
    path = ""
    for part in os.path.realpath(file).split("/")[1:]:
        path += "/" + part
        state = os.stat(path)
        wanted = 1 if stat.S_ISDIR(state.st_mode) else 4
        shift = 6 if state.st_uid == user.pw_uid else 3 if state.st_gid == user.pw_gid else 0
        if not state.st_mode >> shift & wanted:
            return path
    return ""


def _secret(settings: Settings, name: str, item: str, origin: Origin) -> Iterator[Finding]:
    """Passwords that everybody on the machine may read."""
    kind, rest = type_of(item)
    file = file_of(settings, item) if name in _SECRET else rest if kind in _REMOTE and rest.startswith("/") else ""
    for path in (file, f"{file}.lmdb", f"{file}.db", f"{file}.cdb") if file else ():
        try:
            if not os.stat(path).st_mode & stat.S_IROTH:
                continue
            with open(path, "rb") as stream:
                text = stream.read(1 << 16)
        except OSError:
            continue
        if name in _SECRET or b"password" in text or b"bind_pw" in text:
            yield warning(
                origin, what=f"everybody on this machine may read the password in {path}",
                why="whoever has it can use that account", cure=f"chmod o-r {path}",
            )  # fmt: skip


def _loops(settings: Settings, name: str) -> Iterator[Finding]:
    """Entries that lead back to themselves, over others. One that names itself is an end."""
    ours = {domain.lower() for domain, _ in elements(settings, "mydestination")} if name == "alias_maps" else set()
    edges: dict[str, tuple[str, ...]] = {}
    origins: dict[str, Origin] = {}
    for row in maps_rows(settings, name):
        if len(edges) >= _MOST:
            return
        if row.key not in edges:
            edges[row.key], origins[row.key] = tuple(_targets(row.value, ours)), row.origin
    for loop in cycles(edges):
        if any(key in edges[key] for key in loop):
            continue
        first = min(loop, key=lambda key: (origins[key].file, origins[key].line))
        at = loop.index(first)
        chain = " -> ".join([*loop[at:], *loop[: at + 1]])
        yield error(
            origins[first], what=f"{name}: loop: {chain}",
            why="mail to any of them is returned" if name == "alias_maps" else "mail to any of them is put off",
            cure="let one of them lead to a mailbox or to another server",
        )  # fmt: skip


def _targets(value: str, ours: set[str]) -> Iterator[str]:
    for word in value.replace(",", " ").split():
        local, at, domain = word.lower().rpartition("@")
        yield local if at and domain in ours else word.lower()


def cycles(edges: dict[str, tuple[str, ...]]) -> Iterator[list[str]]:
    """Each loop of more than one key once, as the keys on it. Time grows with the number of edges alone."""
    done: set[str] = set()
    for start in edges:
        path: list[str] = []
        on_path: dict[str, int] = {}
        stack: list[tuple[str, Iterator[str]]] = []
        key: str | None = start
        while key is not None or stack:
            if key is not None and key in edges and key not in done and key not in on_path:
                on_path[key] = len(path)
                path.append(key)
                stack.append((key, iter(edges[key])))
            elif key is not None and key in on_path and path[-1] != key:
                yield path[on_path[key] :]
            if not stack:
                break
            key = next(stack[-1][1], None)
            if key is None:
                finished, _ = stack.pop()
                done.add(finished)
                del on_path[finished]
                path.pop()
