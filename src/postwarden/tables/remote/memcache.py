"""memcache: tables, memcache_table(5): a cache, and the table behind it."""

import contextlib
import re
import time
from threading import Lock

from msgspec import Struct

from postwarden.config.errors import ConfigError
from postwarden.tables.configured import ConfiguredTable
from postwarden.tables.remote.domains import Domains
from postwarden.tables.remote.peer import Peer, PeerError, endpoint
from postwarden.tables.table import Found, Table, TableError
from postwarden.tables.template import Templates
from postwarden.wire.lookups import Looked, MemcacheReader, memcache_get, memcache_set

_SERVER = "inet:localhost:11211"
_NO_KEY = re.compile("[\0- \x7f\ud800-\udfff]")
"""White space and control characters of ASCII, and what is no text. Other white space is a part of a key."""


class _Cache(Struct):
    """One definition."""

    peer: Peer
    keys: Templates
    domains: Domains
    backup: Table | None
    flags: int
    ttl: int
    tries: int
    pause: float
    data_limit: int
    line_limit: int
    lock: Lock
    """The backup need not be made for more than one thread."""

    def ask(self, question: bytes) -> Looked:
        """As often as the definition has it; a server that accepts no connection is not asked twice.
        Raises PeerError."""
        for rest in range(self.tries - 1, -1, -1):
            try:
                return self.peer.ask(question, lambda: MemcacheReader(self.line_limit, self.data_limit))
            except PeerError as error:
                if not rest or not error.reached:
                    raise
            time.sleep(self.pause)
        raise AssertionError("max_try is at least 1")


class MemcacheTable(ConfiguredTable):
    """What is only in the backup is put into the cache."""

    _cache: _Cache | None = None

    def stale(self) -> bool:
        cache = self._cache
        if cache is None:
            return super().stale()
        cache.peer.sweep()
        backup = cache.backup is not None and cache.backup.stale()
        return super().stale() or cache.domains.stale() or backup

    def _load(self) -> None:
        definition, problems = self._definition()
        server = definition.text("memcache", _SERVER, needed=True)
        try:
            where = endpoint(server)
        except ValueError as error:
            raise ConfigError(definition.where("memcache"), str(error)) from error
        backup = definition.text("backup")
        new = _Cache(
            Peer(where, definition.number("timeout", 2, 1)),
            Templates(definition.text("key_format", "%s", needed=True), "%s", definition.where("key_format")),
            Domains(definition, self._opener),
            self._opener(backup, definition.where("backup")) if backup else None,
            definition.number("flags", 0),
            definition.number("ttl", 3600),
            definition.number("max_try", 2, 1),
            definition.number("retry_pause", 1, 1),
            definition.number("data_size_limit", 10240, 1),
            definition.number("line_size_limit", 1024, 1),
            Lock(),
        )
        old, self._cache, self.warnings = self._cache, new, problems
        if old is not None:
            old.peer.close()

    def _find(self, key: str) -> Found | None:
        cache, name = self._cache, self._folded(key)
        if cache is None:
            return None
        if not cache.domains.hold(name):
            return None
        asked = cache.keys.query(name)
        if not asked or _NO_KEY.search(asked):
            return None  # memcached has no such keys
        try:
            looked = cache.ask(memcache_get(asked))
        except PeerError as error:
            looked = Looked(None, str(error))
        if looked.value is not None:
            return Found(looked.value, key, self.name)
        if cache.backup is None:
            if looked.error:
                raise TableError(self.name, looked.error)
            return None
        with contextlib.nullcontext() if hasattr(cache.backup, "slow") else cache.lock:
            found = cache.backup.get(name)
        if found is None:
            return None
        with contextlib.suppress(PeerError):  # the next look-up asks the backup, too
            cache.ask(memcache_set(asked, found.value, flags=cache.flags, ttl=cache.ttl))
        return Found(found.value, key, self.name, found.origin)
